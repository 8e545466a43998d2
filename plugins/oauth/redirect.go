package oauth

import (
	"net/url"
	"strings"

	"github.com/esignd/esignd/core"
)

// AuthorizationURL adds the parameters that are not empty to the URL of a consent page (RFC 6749 §4.1.1). Spaces are
// written as "+".
func AuthorizationURL(page *url.URL, params url.Values) string {
	u := *page
	query := make(url.Values, len(params))
	for name, values := range params {
		if len(values) > 0 && values[0] != "" {
			query[name] = values
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Callback reads the vendor's redirect (RFC 6749 §4.1.2). An error in it wins over a code beside it; neither of the two
// is a denial. A parameter of OAuth that comes twice is an error (§3.1), a [*core.VendorError].
func Callback(params url.Values) (core.CallbackResult, error) {
	for _, name := range []string{"code", "state", "error"} {
		if len(params[name]) > 1 {
			return core.CallbackResult{}, &core.VendorError{
				Outcome: core.NotSent,
				Code:    core.CodeInvalidRequest,
				Detail:  "the vendor's redirect has the parameter " + name + " more than once",
			}
		}
	}
	code := strings.TrimSpace(params.Get("code"))
	switch {
	case params.Get("error") != "":
		return core.CallbackResult{Denied: denial(params.Get("error"))}, nil
	case code == "":
		return core.CallbackResult{Denied: core.CodeAccessDenied}, nil
	default:
		return core.CallbackResult{Code: core.NewSecret(code)}, nil
	}
}

// denial folds an error code to lower case. One that RFC 6749 §4.1.2.1 does not know is a server_error: it is not
// known to be the resource owner's refusal, and the vendor's own text goes no further.
func denial(code string) string {
	code = strings.ToLower(strings.TrimSpace(code))
	switch code {
	case "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
		"server_error", "temporarily_unavailable":
		return code
	}
	return "server_error"
}
