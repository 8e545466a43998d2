package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/esignd/esignd/core"
)

const maxRequest = 1 << 20 // bytes on standard input

// secret is a core.Secret that is read from JSON and never written.
type secret struct{ core.Secret }

// UnmarshalJSON reads a string. The error does not hold it.
func (s *secret) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		return errors.New("a secret is a JSON string")
	}
	s.Secret = core.NewSecret(text)
	return nil
}

// client is the part of each request that says who asks.
type client struct {
	ClientID       string            `json:"client_id"`
	ClientSecret   secret            `json:"client_secret"`
	Settings       map[string]string `json:"settings"`
	SecretSettings map[string]secret `json:"secret_settings"`
}

func (c client) credentials() core.Credentials {
	out := core.Credentials{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret.Secret, Settings: c.Settings,
		SecretSettings: make(map[string]core.Secret, len(c.SecretSettings)),
	}
	for name, s := range c.SecretSettings {
		out.SecretSettings[name] = s.Secret
	}
	return out
}

type authorizationRequest struct {
	Client        client   `json:"client"`
	RedirectURI   string   `json:"redirect_uri"`
	State         string   `json:"state"`
	Scope         []string `json:"scope"`
	CodeChallenge string   `json:"code_challenge"`
}

type callbackRequest struct {
	Client client     `json:"client"`
	Params url.Values `json:"params"`
}

type tokenRequest struct {
	Client       client   `json:"client"`
	GrantType    string   `json:"grant_type"`
	Code         secret   `json:"code"`
	RedirectURI  string   `json:"redirect_uri"`
	State        secret   `json:"state"`
	CodeVerifier secret   `json:"code_verifier"`
	RefreshToken secret   `json:"refresh_token"`
	Scope        []string `json:"scope"`
	APIBaseURL   string   `json:"api_base_url"`
	AccessToken  secret   `json:"access_token"`
	Reported     bool     `json:"reported"`
}

type revocationRequest struct {
	Client        client `json:"client"`
	Token         secret `json:"token"`
	TokenTypeHint string `json:"token_type_hint"`
	APIBaseURL    string `json:"api_base_url"`
}

type accountRequest struct {
	Client       client `json:"client"`
	EmailAddress string `json:"email_address"`
}

type eventRequest struct {
	Client client            `json:"client"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
}

// header returns the fields by their canonical names, as a server would have read them.
func (r eventRequest) header() http.Header {
	h := http.Header{}
	for name, value := range r.Header {
		h.Add(name, value)
	}
	return h
}

type hostCheckRequest struct {
	Client client `json:"client"`
	URL    string `json:"url"`
}

// readRequest reads one JSON object into v. A field that v does not have is an error; what an error quotes is a field's
// name or a position, never a value.
func readRequest(r io.Reader, v any) error {
	b, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil {
		return fmt.Errorf("read the request from standard input: %w", err)
	}
	if len(b) > maxRequest {
		return fmt.Errorf("the request on standard input is over %d bytes", maxRequest)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("there is no request on standard input: it is a JSON object, {} where nothing is to be said")
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("read the request from standard input: %w", err)
	}
	if decoder.More() {
		return errors.New("there is more than one JSON value on standard input")
	}
	return nil
}
