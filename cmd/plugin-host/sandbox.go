package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	adobesign "github.com/esignd/esignd/plugins/adobesign/sandbox"
	dropboxsign "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	esignglobal "github.com/esignd/esignd/plugins/esignglobal/sandbox"
)

// sandboxCommand is `plugin-host sandbox`.
type sandboxCommand struct {
	Vendor         string        `arg:"" enum:"adobesign,dropboxsign,esignglobal" help:"One of adobesign, dropboxsign, esignglobal."`
	Listen         string        `default:"127.0.0.1:0" help:"Where it listens, on the loopback."`
	RedirectURI    []string      `name:"redirect-uri" help:"A redirect URI of the client, compared exactly. None: any on the loopback."`
	AccessLifetime time.Duration `help:"How long access tokens live, instead of as long as the vendor's."`
	AutoConsent    string        `placeholder:"ACCOUNT" help:"An account that has accepted already: nobody is asked."`
	State          string        `placeholder:"FILE" help:"Keep grants and tokens there from one start to the next."`
	JSON           bool          `name:"json" help:"Print JSON."`
}

// sandbox is what the sandboxes have in common.
type sandbox interface {
	Start() error
	URL() string
	Settings() map[string]string
	Client() (id, secret string)
	Close() error
}

func (c sandboxCommand) new() (s sandbox, secretSettings map[string]string, err error) {
	switch c.Vendor {
	case "adobesign":
		s, err = adobesign.New(adobesign.Config{
			Listen: c.Listen, RedirectURIs: c.RedirectURI, AccessLifetime: c.AccessLifetime, AutoConsent: c.AutoConsent, StateFile: c.State,
		})
	case "dropboxsign":
		server, e := dropboxsign.New(dropboxsign.Config{
			Listen: c.Listen, RedirectURIs: c.RedirectURI, AccessLifetime: c.AccessLifetime, AutoConsent: c.AutoConsent, StateFile: c.State,
		})
		if e != nil {
			return nil, nil, e
		}
		s, secretSettings = server, map[string]string{"api_key": server.APIKey()}
	default:
		s, err = esignglobal.New(esignglobal.Config{
			Listen: c.Listen, RedirectURIs: c.RedirectURI, AccessLifetime: c.AccessLifetime, AutoConsent: c.AutoConsent, StateFile: c.State,
		})
	}
	return s, secretSettings, err
}

// Run serves until the context ends. The secrets it prints are worth nothing anywhere else.
func (c sandboxCommand) Run(ctx context.Context, s streams) error {
	server, secretSettings, err := c.new()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if err := c.show(s.stdout, server, secretSettings); err != nil {
		_ = server.Close()
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// show prints where the sandbox is and the part of esignd's configuration that makes it a client.
func (c sandboxCommand) show(w io.Writer, server sandbox, secretSettings map[string]string) error {
	id, secret := server.Client()
	if c.JSON {
		return printJSON(w, map[string]any{
			"vendor": c.Vendor, "url": server.URL(), "client_id": id, "client_secret": secret,
			"settings": server.Settings(), "secret_settings": secretSettings,
		})
	}
	prefix := strings.ToUpper(c.Vendor) + "_"
	var b strings.Builder
	fmt.Fprintf(&b, "The sandbox of %s is at %s until you interrupt it. In esignd's configuration:\n\n", c.Vendor, server.URL())
	fmt.Fprintf(&b, "clients:\n  - name: %s-sandbox\n    vendor: %s\n    client_id: %s\n", c.Vendor, c.Vendor, id)
	fmt.Fprintf(&b, "    client_secret: {env: %sSECRET}\n    settings:\n", prefix)
	settings := server.Settings()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "      %s: %q\n", name, settings[name])
	}
	variables := fmt.Sprintf("\nexport %sSECRET=%s\n", prefix, secret)
	for _, name := range slices.Sorted(maps.Keys(secretSettings)) {
		fmt.Fprintf(&b, "      %s: {env: %s%s}\n", name, prefix, strings.ToUpper(name))
		variables += fmt.Sprintf("export %s%s=%s\n", prefix, strings.ToUpper(name), secretSettings[name])
	}
	_, err := io.WriteString(w, b.String()+variables)
	return err
}
