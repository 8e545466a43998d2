package consent_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
)

func ExampleConsent() {
	vendor, err := sandbox.New(sandbox.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := vendor.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = vendor.Close() }()

	id, _ := vendor.Client()
	page := vendor.URL() + "/public/oauth/v2?" + url.Values{
		"response_type": {"code"}, "client_id": {id}, "redirect_uri": {"http://localhost/callback"},
		"scope": {"user_login:self"}, "state": {"xyz"},
	}.Encode()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	redirect, err := consent.Consent(context.Background(), client, page, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(redirect)
	// Output: http://localhost/callback?error=ACCESS_DENIED&state=xyz
}
