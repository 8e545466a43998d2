package faults

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
)

// consented takes an authorization URL through the vendor's consent page, and returns the parameters of its redirect.
// The page is reached past a fault that needs TLS.
func (w *world) consented(authorizationURL, account string) map[string][]string {
	w.t.Helper()
	page := strings.Replace(authorizationURL, w.proxy.URLFor(w.fault), w.proxy.URL(), 1)
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	back, err := consent.As(w.t.Context(), browser, page, account, true)
	if err != nil {
		w.t.Fatal(err)
	}
	w.seen.NoteAll(back.Query())
	return back.Query()
}

// seed gets a token set for an account from the vendor, without a Manager.
func (w *world) seed(account string) core.TokenResponse {
	w.t.Helper()
	ctx, a, cred := w.t.Context(), w.plugin.Adapter(), w.credentials(w.proxy.URL())
	state := "a-state-" + rand.Text()
	page, err := a.AuthorizationURL(ctx, core.AuthorizationRequest{Client: cred, RedirectURI: redirectURI, State: state, Scope: w.vendor.scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := a.Callback(ctx, core.CallbackRequest{Client: cred, Params: w.consented(page, account)})
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := a.Token(ctx, core.TokenRequest{
		Client: cred, GrantType: core.AuthorizationCode, Code: back.Code, RedirectURI: redirectURI,
		State: core.NewSecret(state), Scope: w.vendor.scopes, APIBaseURL: back.APIBaseURL,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// grant is a grant of a world with the refresh token that it began with.
type grant struct {
	core.Selector
	id      string
	refresh core.Secret
	access  core.Secret
}

// imported makes a grant whose access token has an hour left, or less than the second that a caller must get.
func (w *world) imported(client, account string, live bool) grant {
	w.t.Helper()
	set := w.seed(account)
	request := core.ImportRequest{Tenant: tenant, Client: client, Account: account, RefreshToken: set.RefreshToken, AccessToken: set.AccessToken}
	var info core.GrantInfo
	var err error
	for range 5 { // on a slow machine the second may be over before the import is looked at
		request.ExpiresAt = time.Now().Add(time.Hour)
		if !live {
			request.ExpiresAt = time.Now().Add(950 * time.Millisecond)
		}
		if info, err = w.manager.Import(w.t.Context(), request); err == nil {
			break
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return grant{
		Selector: core.Selector{Tenant: tenant, Client: client, Account: account},
		id:       info.Grant, refresh: set.RefreshToken, access: set.AccessToken,
	}
}

// opens reports whether the vendor's API takes the access token.
func (w *world) opens(token core.Secret) bool {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.box.URL()+w.vendor.api, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
