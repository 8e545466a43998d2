package oauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// An adapter describes its vendor's endpoint and hands the request on.
func ExampleClient_Token() {
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"bearer","expires_in":3600}`)
	}))
	defer vendor.Close()

	client := oauth.NewClient(oauth.Config{})
	endpoint := oauth.Endpoint{TokenURL: vendor.URL + "/token", Body: oauth.JSONBody}
	response, err := client.Token(context.Background(), endpoint, core.TokenRequest{
		Client:       core.Credentials{ClientID: "esignd", ClientSecret: core.NewSecret("s3cret")},
		GrantType:    core.RefreshToken,
		RefreshToken: core.NewSecret("tGzv3JOkF0XG5Qx2TlKWIA"),
	})
	if err != nil {
		fmt.Println(core.AsVendorError(err).Outcome)
		return
	}
	fmt.Println(response.AccessToken, response.TokenType, response.ExpiresIn)
	// Output: [redacted] Bearer 1h0m0s
}
