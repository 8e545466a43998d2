package faultproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// A vendor whose token endpoint is told to redirect to another host, and a client that does not follow.
func ExampleProxy_Next() {
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"secret"}`)
	}))
	defer vendor.Close()
	proxy, err := faultproxy.Start(faultproxy.Config{Target: vendor.URL})
	if err != nil {
		panic(err)
	}
	defer func() { _ = proxy.Close() }()
	fault, _ := faultproxy.ByName("307 elsewhere")
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	proxy.Next(fault)
	for range 2 {
		res, err := client.Post(proxy.URLFor(fault), "application/x-www-form-urlencoded", strings.NewReader("grant_type=refresh_token"))
		if err != nil {
			panic(err)
		}
		_ = res.Body.Close()
		fmt.Println(res.StatusCode)
	}
	fmt.Println("elsewhere:", proxy.Stats().Elsewhere)
	// Output:
	// 307
	// 200
	// elsewhere: 0
}
