package generic

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// The settings that are endpoints.
const (
	authorizationURL = "authorization_url"
	tokenURL         = "token_url"
	refreshURL       = "refresh_url"
	revocationURL    = "revocation_url"
)

const maxLifetime = 365 * 24 * time.Hour

// settings are a client's settings, checked.
type settings struct {
	// issuer is as it was written: issuers are compared in every character.
	issuer string
	// urls are the endpoints that are set, by the names above, as they were written: to some servers a slash at the
	// end matters.
	urls      map[string]string
	apiBase   string
	body      oauth.Encoding
	auth      oauth.ClientAuth
	challenge bool
	separator string
	// extra are further parameters of the consent page, target those of every request.
	extra    url.Values
	target   map[string]string
	lifetime time.Duration // zero: that of the metadata
}

func parseSettings(c core.Credentials) (settings, error) {
	s := settings{issuer: c.Settings["issuer"], urls: map[string]string{}, target: map[string]string{}}
	for _, name := range []string{"audience", "resource"} {
		if value := c.Settings[name]; value != "" {
			s.target[name] = value
		}
	}
	for _, read := range []func(core.Credentials) error{s.readURLs, s.readChoices, s.readExtra, s.readLifetime} {
		if err := read(c); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

func (s *settings) readURLs(c core.Credentials) error {
	if s.issuer != "" {
		if _, err := oauth.URLSetting(c, "issuer", ""); err != nil {
			return err
		}
	}
	if c.Settings["api_base_url"] != "" {
		u, err := oauth.URLSetting(c, "api_base_url", "")
		if err != nil {
			return err
		}
		s.apiBase = u.String()
	}
	for _, name := range []string{authorizationURL, tokenURL, refreshURL, revocationURL} {
		raw := c.Settings[name]
		if raw == "" {
			continue
		}
		if _, err := endpointURL(raw); err != nil {
			return oauth.HostRefused("setting " + name + ": " + err.Error())
		}
		s.urls[name] = raw
	}
	return nil
}

func (s *settings) readChoices(c core.Credentials) (err error) {
	s.body, err = choice(c, "body", "form", map[string]oauth.Encoding{
		"form": oauth.FormBody, "json": oauth.JSONBody, "multipart": oauth.MultipartBody,
	})
	if err != nil {
		return err
	}
	s.auth, err = choice(c, "client_authentication", "basic", map[string]oauth.ClientAuth{
		"basic": oauth.AuthBasic, "body": oauth.AuthBody, "none": oauth.AuthNone,
	})
	if err != nil {
		return err
	}
	s.separator, err = choice(c, "scope_separator", "space", map[string]string{"space": " ", "comma": ","})
	if err != nil {
		return err
	}
	s.challenge, err = choice(c, "pkce", "S256", map[string]bool{"S256": true, "none": false})
	return err
}

// readExtra reads the further parameters of the consent page. Those that esignd sets itself are not among them: one of
// them twice, or another state, would be refused by the server or at the end of the flow, where nobody sees why.
func (s *settings) readExtra(c core.Credentials) error {
	extra, err := url.ParseQuery(c.Settings["authorization_params"])
	if err != nil {
		return settingError("authorization_params", "not form-encoded, such as prompt=consent&access_type=offline")
	}
	for _, name := range []string{
		"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method",
		"client_secret", "audience", "resource",
	} {
		if extra.Has(name) {
			return settingError("authorization_params", name+" is not set here")
		}
	}
	s.extra = extra
	return nil
}

func (s *settings) readLifetime(c core.Credentials) error {
	raw := c.Settings["access_lifetime"]
	if raw == "" {
		return nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 1 || n > int(maxLifetime/time.Second) {
		return settingError("access_lifetime", "not a number of seconds between 1 and 31536000")
	}
	s.lifetime = time.Duration(n) * time.Second
	return nil
}

// discovers reports whether what the settings leave out is looked up. A server whose two main endpoints are set is
// described by hand, and may well have no document.
func (s settings) discovers() bool {
	return s.issuer != "" && (s.urls[authorizationURL] == "" || s.urls[tokenURL] == "")
}

// endpointURL checks the URL of an endpoint, which may have a query (RFC 6749 §3.1, §3.2) and no fragment. The error does
// not show it.
func endpointURL(raw string) (*url.URL, error) {
	if strings.Contains(raw, "#") {
		return nil, errors.New("a fragment is not allowed")
	}
	if _, err := url.Parse(raw); err != nil {
		return nil, errors.New("not a URL")
	}
	bare, _, _ := strings.Cut(raw, "?")
	return oauth.VendorURL(bare)
}

// choice returns what the value of a setting stands for.
func choice[T any](c core.Credentials, name, fallback string, of map[string]T) (T, error) {
	said := c.Settings[name]
	if said == "" {
		said = fallback
	}
	value, ok := of[said]
	if !ok {
		return value, settingError(name, "known are "+strings.Join(slices.Sorted(maps.Keys(of)), ", "))
	}
	return value, nil
}

// settingError is the error for a setting that is wrong; it does not show the value.
func settingError(name, detail string) *core.VendorError {
	return &core.VendorError{Outcome: core.NotSent, Code: core.CodeInternal, Detail: "setting " + name + ": " + detail}
}
