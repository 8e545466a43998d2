package oauth

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"

	"github.com/esignd/esignd/core"
)

// Encoding is how a vendor's token endpoint takes its parameters.
type Encoding int

// The encodings.
const (
	// FormBody is application/x-www-form-urlencoded, the form of RFC 6749.
	FormBody Encoding = iota
	// JSONBody is one JSON object of strings.
	JSONBody
	// MultipartBody is multipart/form-data (RFC 7578).
	MultipartBody
)

// ClientAuth is how a client proves itself (RFC 6749 §2.3.1).
type ClientAuth int

// The ways of client authentication.
const (
	// AuthBody sends client_id and client_secret among the parameters.
	AuthBody ClientAuth = iota
	// AuthBasic sends them by HTTP Basic, each form-encoded first, as §2.3.1 demands.
	AuthBasic
	// AuthNone sends neither.
	AuthNone
)

// Endpoint says where and how a vendor issues and revokes tokens. The zero value of every field but TokenURL is what
// RFC 6749 says.
type Endpoint struct {
	// TokenURL is the token endpoint.
	TokenURL string
	// RefreshURL is where the vendor refreshes. Empty: TokenURL.
	RefreshURL string
	// RevocationURL is the revocation endpoint; only [Client.Revoke] reads it.
	RevocationURL string
	// GrantTypes are those the vendor takes; a request for another is not sent. Empty: any.
	GrantTypes []core.GrantType
	// Body and Auth are how parameters and credentials are sent to TokenURL and RefreshURL.
	Body Encoding
	Auth ClientAuth
	// RevocationAuth is how the client proves itself at RevocationURL, which takes a form.
	RevocationAuth ClientAuth
	// SendState adds the authorization's state to the exchange of its code.
	SendState bool
	// Omit names parameters of the RFC that the vendor does not take.
	Omit []string
	// EpochExpiry reads an expires_in above 1e9 as the time of expiry in Unix seconds.
	EpochExpiry bool
	// RemainingExpiry says that expires_in is what is left of a token that may be older than the answer. An
	// expires_in of zero or less then means one second, and not that the vendor did not say.
	RemainingExpiry bool
	// BusinessCode says that an answer may have a member "code" which is 0, as a number or a string, where all is well.
	// Another one then makes a failure of a 2xx, a token in it or not.
	BusinessCode bool
	// Extra names further members of the answer, strings and no secrets, that the adapter reads from
	// [Response.Extra].
	Extra []string
	// DeadTokenCodes are the error codes, in lower case, by which the revocation endpoint says that the token was
	// dead already.
	DeadTokenCodes []string
}

// param is one parameter of a request; the order of a list of them is the order on the wire.
type param struct{ name, value string }

// tokenParams returns the parameters of r: RFC 6749 §4.1.3, §4.4.2 or §6, and RFC 7636 §4.5.
func (e Endpoint) tokenParams(r core.TokenRequest) []param {
	params := []param{{"grant_type", string(r.GrantType)}}
	switch r.GrantType {
	case core.AuthorizationCode:
		params = append(params,
			param{"code", r.Code.Reveal()},
			param{"redirect_uri", r.RedirectURI},
			param{"code_verifier", r.CodeVerifier.Reveal()})
		if e.SendState {
			params = append(params, param{"state", r.State.Reveal()})
		}
	case core.RefreshToken:
		// No scope: RFC 6749 §6 then keeps the scope of the grant.
		params = append(params, param{"refresh_token", r.RefreshToken.Reveal()})
	case core.ClientCredentials:
		params = append(params, param{"scope", strings.Join(r.Scope, " ")})
	}
	return slices.DeleteFunc(params, func(p param) bool {
		return p.value == "" || slices.Contains(e.Omit, p.name)
	})
}

// withClient adds the credentials to the parameters where they are sent among them.
func withClient(params []param, auth ClientAuth, c core.Credentials) []param {
	if auth != AuthBody {
		return params
	}
	params = append(params, param{"client_id", c.ClientID})
	if !c.ClientSecret.IsZero() {
		params = append(params, param{"client_secret", c.ClientSecret.Reveal()})
	}
	return params
}

// encode returns the body of a request and its content type.
func encode(enc Encoding, params []param) (body []byte, contentType string, err error) {
	switch enc {
	case JSONBody:
		object := make(map[string]string, len(params))
		for _, p := range params {
			object[p.name] = p.value
		}
		body, err = json.Marshal(object)
		return body, "application/json", err
	case MultipartBody:
		return encodeMultipart(params)
	default:
		form := make(url.Values, len(params))
		for _, p := range params {
			form.Set(p.name, p.value)
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
}

func encodeMultipart(params []param) (body []byte, contentType string, err error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, p := range params {
		if err := w.WriteField(p.name, p.value); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}
