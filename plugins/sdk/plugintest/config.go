package plugintest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/host"
)

// Config says which plugin is tested and against what. One of Package, Binary and Adapter is set.
type Config struct {
	// Package is the Go package of the plugin's main, such as "./esignd-plugin-example". It is built with `go build`.
	Package string
	// Binary is the plugin's file.
	Binary string
	// Adapter is called in process. Use it where there is no binary yet: what only a process shows is skipped.
	Adapter core.Adapter
	// Vendor is the name that the plugin answers to. Empty: what follows "esignd-plugin-" in the file's name.
	Vendor string

	Sandbox Sandbox

	// Deadline is how long the calls may take whose answer hangs. 0: one second and a half.
	Deadline time.Duration
	// Timeout bounds every other call, the start and each visit to the consent page. 0: ten seconds.
	Timeout time.Duration
	// Only limits [Examine] to the checks whose names it matches. nil: all. [Run] has go test's -run for that.
	Only *regexp.Regexp
	// Env holds further variables for the plugin's process, as NAME=value.
	Env []string
	// Logger gets what the plugin logs as well. nil: nobody does.
	Logger *slog.Logger
}

// Sandbox is the vendor's authorization server for the tests. Its members in JSON are those that `plugin-host sandbox
// --json` prints. What is secret in it is worth nothing elsewhere.
type Sandbox struct {
	// Vendor is the vendor's name, where that of the plugin's file does not say it.
	Vendor string `json:"vendor,omitempty"`
	// URL is where it serves. It is needed only for a Probe, where the adapter names no API base URL.
	URL string `json:"url,omitempty"`
	// ClientID and ClientSecret are those of a client that the sandbox knows.
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	// Settings and SecretSettings are the client's, and lead the adapter to the sandbox.
	Settings       map[string]string `json:"settings,omitempty"`
	SecretSettings map[string]string `json:"secret_settings,omitempty"`
	// RedirectURI is one that the sandbox takes. Nobody listens there. Empty: http://127.0.0.1:9/callback.
	RedirectURI string `json:"redirect_uri,omitempty"`
	// Scopes are asked for.
	Scopes []string `json:"scopes,omitempty"`
	// Probe tells live access tokens from dead ones: a path at the API base URL, or a URL, that answers a GET with a live
	// one by a 2xx, and any other by 401 or 403. Empty, and TokenWorks nil: tokens are taken for what they are said to be.
	Probe string `json:"probe,omitempty"`

	// Consent opens the authorization URL as a person does, accepts or denies, and returns where the browser is then
	// sent, without going there. nil: the page has one form, with buttons whose values are accept and deny. An error
	// that wraps errors.ErrUnsupported skips what needs it.
	Consent func(ctx context.Context, authorizationURL string, accept bool) (*url.URL, error) `json:"-"`
	// TokenWorks asks the vendor's API whether an access token is live, where Probe cannot.
	TokenWorks func(context.Context, core.TokenResponse) (bool, error) `json:"-"`
}

const defaultRedirectURI = "http://127.0.0.1:9/callback"

// withDefaults checks the configuration and fills in what it leaves open.
func (c Config) withDefaults() (Config, error) {
	given := 0
	for _, there := range []bool{c.Package != "", c.Binary != "", c.Adapter != nil} {
		if there {
			given++
		}
	}
	if given != 1 {
		return c, errors.New("plugintest: set one of Package, Binary and Adapter")
	}
	if c.Sandbox.ClientID == "" {
		return c, errors.New("plugintest: Sandbox.ClientID is empty: name a client that the sandbox knows")
	}
	c.Deadline = cmp.Or(c.Deadline, 1500*time.Millisecond)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Sandbox.RedirectURI = cmp.Or(c.Sandbox.RedirectURI, defaultRedirectURI)
	if c.Sandbox.Consent == nil {
		c.Sandbox.Consent = func(ctx context.Context, authorizationURL string, accept bool) (*url.URL, error) {
			browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			return consent.Consent(ctx, browser, authorizationURL, accept)
		}
	}
	return c.withVendor()
}

// withVendor finds the vendor's name.
func (c Config) withVendor() (Config, error) {
	if c.Adapter != nil {
		return c, nil
	}
	name, ok := strings.CutPrefix(filepath.Base(cmp.Or(c.Binary, c.Package)), host.FileName(""))
	if !ok {
		name = c.Sandbox.Vendor
	}
	c.Vendor = cmp.Or(c.Vendor, name)
	if c.Vendor == "" {
		return c, fmt.Errorf("plugintest: %s is not called %s<vendor>: set Vendor", cmp.Or(c.Binary, c.Package), host.FileName(""))
	}
	return c, nil
}
