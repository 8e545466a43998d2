package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/esignd/esignd/core"
)

// APIRequest is a request to a vendor's API for one JSON object, such as its userinfo endpoint.
type APIRequest struct {
	// Method is GET or POST; no other is sent.
	Method string
	// URL is the whole URL, its query included.
	URL string
	// Bearer is an access token (RFC 6750 §2.1); Username and Password are for HTTP Basic, sent as they are. Set at
	// most one of Bearer and Username.
	Bearer, Username, Password core.Secret
	// Body says how the parameters of a POST are sent; a GET has none.
	Body   Encoding
	Params map[string]core.Secret
}

// APIAnswer is a complete answer of a vendor's API, good or bad.
type APIAnswer struct{ answer answer }

// API sends r once and reads the answer, with the same guarantees as [Client.Token]. The error is a [*core.VendorError]
// where there is no complete answer; whether the answer is good, [APIAnswer.Decode] says.
func (c *Client) API(ctx context.Context, r APIRequest) (APIAnswer, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return APIAnswer{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInternal, Detail: "a vendor's API is asked by GET or POST"}
	}
	request := call{method: r.Method, url: r.URL, body: r.Body, auth: AuthNone, bearer: r.Bearer, username: r.Username, password: r.Password}
	for name, value := range r.Params {
		request.params = append(request.params, param{name, value.Reveal()})
	}
	return c.complete(ctx, request)
}

// OK reports whether the status is a 2xx.
func (a APIAnswer) OK() bool { return a.answer.ok() }

// Is reports whether the body names the vendor's own error code, given in lower case; the vendor may write it in any.
func (a APIAnswer) Is(code string) bool { return a.answer.vendorCode() == code }

// Err returns what the answer is as a failure, a [*core.VendorError]; for a 2xx, that its body is not what was asked for.
func (a APIAnswer) Err() error { return a.answer.failure() }

// Decode reads the object of a 2xx into v, as encoding/json does. Another answer, or one that does not fit v, is a
// [*core.VendorError]. What it reads is the vendor's: it is to be checked, and belongs in no error, log or span.
func (a APIAnswer) Decode(v any) error {
	if !a.answer.ok() || a.answer.members == nil {
		return a.answer.failure()
	}
	raw, err := json.Marshal(a.answer.members)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil { // its text would quote the vendor
		return a.answer.failure()
	}
	return nil
}

// Token reads the token set in the named member of the object, or in the object itself where member is empty, as
// [Client.Token] does.
func (a APIAnswer) Token(e Endpoint, member string) (Response, error) {
	inner := a.answer
	if !inner.ok() {
		return Response{}, inner.failure()
	}
	if member != "" {
		inner.members = parseMembers(inner.members[member])
	}
	return inner.token(e)
}

// authorize adds the credentials that go in a header.
func (c call) authorize(req *http.Request) {
	switch {
	case c.auth == AuthBasic:
		req.SetBasicAuth(url.QueryEscape(c.client.ClientID), url.QueryEscape(c.client.ClientSecret.Reveal()))
	case !c.bearer.IsZero():
		req.Header.Set("Authorization", "Bearer "+c.bearer.Reveal())
	case !c.username.IsZero():
		req.SetBasicAuth(c.username.Reveal(), c.password.Reveal())
	}
}
