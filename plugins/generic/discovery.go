package generic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

const (
	// discoveryTimeout bounds the search for a document, both places together. It leaves a token request, which is sent
	// in what remains of the same call, the larger part of it.
	discoveryTimeout = 4 * time.Second
	maxEndpoint      = 4 << 10 // bytes of a URL
)

// document is what is read of an issuer's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).
type document struct {
	// urls are the endpoints by the names of the settings that they stand for.
	urls map[string]string
	// sendsIssuer says that every redirect has the parameter iss (RFC 9207 §3).
	sendsIssuer bool
}

// discoverer finds metadata documents.
type discoverer struct{ client *oauth.Client }

// fetch returns the document of an issuer. An error is a [*core.VendorError] whose outcome is NotSent: whatever became
// of it, no token was asked for.
func (d discoverer) fetch(ctx context.Context, issuer string) (document, error) {
	u, err := oauth.VendorURL(issuer)
	if err != nil {
		return document{}, oauth.HostRefused("setting issuer: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	var failure error
	for _, place := range places(u) {
		answer, err := d.client.API(ctx, oauth.APIRequest{Method: http.MethodGet, URL: place})
		if err != nil {
			return document{}, undiscovered(err)
		}
		var members map[string]json.RawMessage
		if err := answer.Decode(&members); err == nil && members["issuer"] != nil {
			return parseDocument(members, issuer, u)
		}
		failure = undiscovered(answer.Err())
		if later(failure) {
			break
		}
	}
	return document{}, failure
}

// places are where an issuer's document may be: RFC 8414 §3.1 puts the issuer's path behind the well-known one, OpenID
// Connect Discovery 1.0 §4 puts it before.
func places(issuer *url.URL) []string {
	host, path := issuer.Scheme+"://"+issuer.Host, issuer.EscapedPath()
	return []string{
		host + "/.well-known/oauth-authorization-server" + path,
		host + path + "/.well-known/openid-configuration",
	}
}

// later reports whether the server asks to be left alone: it would be the wrong moment to look elsewhere.
func later(err error) bool {
	code := core.AsVendorError(err).Code
	return code == core.CodeRateLimited || code == core.CodeUnavailable
}

// undiscovered turns the failure of a search into that of the call that needed the document. A code of OAuth in the
// answer speaks of no grant and no client of ours, and is not passed on.
func undiscovered(err error) error {
	e := *core.AsVendorError(err)
	e.Outcome, e.Detail = core.NotSent, "look up the issuer's metadata document: "+e.Detail
	switch e.Code {
	case core.CodeNetwork, core.CodeTimeout, core.CodeHostRefused, core.CodeRateLimited, core.CodeUnavailable, core.CodeRedirected:
	default:
		e.Code = core.CodeHTTPError
		if e.Status/100 == 2 {
			e.Code = core.CodeMalformedResponse
		}
	}
	return &e
}

// parseDocument reads what a server says of itself. The server is not trusted yet: it must name the issuer that was
// asked, so that no other can pass its endpoints off as that issuer's (RFC 8414 §6.2).
func parseDocument(members map[string]json.RawMessage, issuer string, at *url.URL) (document, error) {
	if named, err := text(members["issuer"]); err != nil || named != issuer {
		return document{}, malformed("issuer", "not the client's issuer, in every character")
	}
	d := document{urls: map[string]string{}, sendsIssuer: string(members["authorization_response_iss_parameter_supported"]) == "true"}
	for member, name := range map[string]string{
		"authorization_endpoint": authorizationURL, "token_endpoint": tokenURL, "revocation_endpoint": revocationURL,
	} {
		raw, err := text(members[member])
		if err != nil {
			return document{}, malformed(member, "not a string")
		}
		if raw == "" {
			continue
		}
		if err := checkEndpoint(raw, at); err != nil {
			return document{}, oauth.HostRefused("the issuer's metadata document: " + member + ": " + err.Error())
		}
		d.urls[name] = raw
	}
	return d, nil
}

// checkEndpoint checks a URL that a document names. An issuer elsewhere does not get to send us to this machine.
func checkEndpoint(raw string, issuer *url.URL) error {
	if len(raw) > maxEndpoint {
		return errors.New("longer than 4 KiB")
	}
	u, err := endpointURL(raw)
	switch {
	case err != nil:
		return err
	case !oauth.Loopback(issuer) && u.Scheme == "https" && !oauth.Loopback(u):
		return nil
	case oauth.Loopback(issuer) && strings.EqualFold(u.Hostname(), issuer.Hostname()):
		return nil
	case oauth.Loopback(issuer):
		return errors.New("not of the issuer's host, which is loopback")
	default:
		return errors.New("a loopback host, and the issuer is elsewhere")
	}
}

// text reads a string; absent and null are empty.
func text(raw json.RawMessage) (string, error) {
	var s string
	if raw == nil {
		return "", nil
	}
	err := json.Unmarshal(raw, &s)
	return s, err
}

func malformed(member, detail string) *core.VendorError {
	return &core.VendorError{
		Outcome: core.NotSent, Code: core.CodeMalformedResponse, Detail: "the issuer's metadata document: " + member + ": " + detail,
	}
}
