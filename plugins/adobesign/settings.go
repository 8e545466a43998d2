package adobesign

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// hostPattern is what Adobe's hosts look like: an optional shard before one of the three domains. Shards are a pattern
// since the vendor adds them.
var hostPattern = regexp.MustCompile(`^(api|secure)\.([a-z]{2}[0-9]{1,2}\.)?(adobesign|echosign|adobesignsandbox)\.com$`)

// settings are a client's settings, checked.
type settings struct {
	web, api    *url.URL
	consentPath string // on web
	oauthPath   string // on the API host, before token, refresh and revoke
}

func parseSettings(c core.Credentials) (settings, error) {
	web, err := oauth.URLSetting(c, "web_url", "https://secure.adobesign.com")
	if err != nil {
		return settings{}, err
	}
	api, err := oauth.URLSetting(c, "api_url", "https://api.adobesign.com")
	if err != nil {
		return settings{}, err
	}
	s := settings{web: web, api: api}
	switch c.Settings["oauth_version"] {
	case "", "v2":
		s.consentPath, s.oauthPath = "public/oauth/v2", "oauth/v2"
	case "v1":
		s.consentPath, s.oauthPath = "public/oauth", "oauth"
	default:
		return settings{}, &core.VendorError{
			Outcome: core.NotSent,
			Code:    core.CodeInternal,
			Detail:  "setting oauth_version: v1 and v2 are known",
		}
	}
	return s, nil
}

// settingsAndBase returns the settings and the API host to call: the one kept with the grant, checked once more, or
// the configured one.
func settingsAndBase(c core.Credentials, kept string) (settings, string, error) {
	s, err := parseSettings(c)
	if err != nil || kept == "" {
		return s, s.base(), err
	}
	base, err := s.checkHost(kept)
	return s, base, err
}

func (s settings) base() string {
	if s.api == nil {
		return ""
	}
	return s.api.String()
}

// endpoint is how the API host at base issues and revokes tokens.
func (s settings) endpoint(base string) oauth.Endpoint {
	at := base + "/" + s.oauthPath + "/"
	return oauth.Endpoint{
		TokenURL:       at + "token",
		RefreshURL:     at + "refresh",
		RevocationURL:  at + "revoke",
		GrantTypes:     grantTypes(),
		RevocationAuth: oauth.AuthNone,
		Omit:           []string{"token_type_hint"},
		Extra:          []string{"api_access_point"},
		DeadTokenCodes: []string{"invalid_token", "expired_token"},
	}
}

// checkHost returns an API host that came from outside in its normal form, without a trailing slash, or says why it
// is not called. The error does not show it.
//
// Where web_url or api_url is loopback, a sandbox stands for the vendor, and only that host is accepted, on any port.
// Else the host is https, has no port, and is one of Adobe's; or it is api_url itself.
func (s settings) checkHost(raw string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return "", oauth.HostRefused("the API host is not a URL")
	}
	if strings.Trim(u.String(), "/") == s.base() {
		return s.base(), nil
	}
	if u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", oauth.HostRefused("the API host is not a URL of the form https://host")
	}
	u.Host = strings.ToLower(u.Host)
	if !s.isVendors(u) {
		return "", oauth.HostRefused("the API host is not one of Adobe Acrobat Sign's")
	}
	return u.Scheme + "://" + u.Host, nil
}

func (s settings) isVendors(u *url.URL) bool {
	if !oauth.Loopback(s.web) && !oauth.Loopback(s.api) {
		return u.Scheme == "https" && hostPattern.MatchString(u.Host)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	for _, own := range []*url.URL{s.web, s.api} {
		if oauth.Loopback(own) && strings.EqualFold(u.Hostname(), own.Hostname()) {
			return true
		}
	}
	return false
}
