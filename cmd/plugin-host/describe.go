package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

// describeCommand is `plugin-host describe`.
type describeCommand struct {
	pluginFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// description is what describe prints as JSON. Lifetimes are whole seconds; one that is absent is not declared.
type description struct {
	Vendor               string           `json:"vendor"`
	Title                string           `json:"title"`
	Version              string           `json:"version,omitempty"`
	SHA256               string           `json:"sha256,omitempty"`
	StartedInMS          int64            `json:"started_in_ms,omitempty"`
	GrantTypes           []core.GrantType `json:"grant_types"`
	AccessLifetime       int64            `json:"access_lifetime"`
	RefreshIdleLifetime  int64            `json:"refresh_idle_lifetime,omitempty"`
	ConsentLifetime      int64            `json:"consent_lifetime,omitempty"`
	RotatesRefreshTokens bool             `json:"rotates_refresh_tokens"`
	RevokesTokens        bool             `json:"revokes_tokens"`
	PKCE                 bool             `json:"pkce"`
	Abilities            []string         `json:"abilities"`
	SettingsSchema       json.RawMessage  `json:"settings_schema"`
}

// Run starts the plugin and prints what it declares.
func (c describeCommand) Run(ctx context.Context, s streams) error {
	digest, err := fileDigest(c.Binary)
	if err != nil {
		return err
	}
	begun := time.Now()
	p, err := c.start(ctx, s)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	defer func() { _ = p.Close(ctx) }()
	d, err := describe(ctx, p)
	if err != nil {
		return err
	}
	d.SHA256, d.StartedInMS = digest, took.Milliseconds()
	if c.JSON {
		return printJSON(s.stdout, d)
	}
	return d.print(s.stdout)
}

// describe asks the plugin what it declares.
func describe(ctx context.Context, p *host.Plugin) (description, error) {
	m, err := p.Adapter().Metadata(ctx)
	return description{
		Vendor: m.Vendor, Title: m.Title, Version: m.Version,
		GrantTypes: m.GrantTypes, AccessLifetime: seconds(m.AccessLifetime),
		RefreshIdleLifetime: seconds(m.RefreshIdleLifetime), ConsentLifetime: seconds(m.ConsentLifetime),
		RotatesRefreshTokens: m.RotatesRefreshTokens, RevokesTokens: m.RevokesTokens, PKCE: m.PKCE,
		Abilities: append([]string{}, p.Abilities()...), SettingsSchema: m.SettingsSchema,
	}, err
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// print writes the description for people.
func (d description) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("vendor", "%s (%s)", d.Vendor, d.Title)
	row("version", "%s", cmp.Or(d.Version, "not said"))
	row("sha256", "%s", d.SHA256)
	row("started in", "%d ms", d.StartedInMS)
	row("grant types", "%s", joinGrantTypes(d.GrantTypes))
	row("access tokens live", "%s", lifetime(d.AccessLifetime))
	row("refresh tokens die unused", "%s", after(d.RefreshIdleLifetime))
	row("a consent ends", "%s", after(d.ConsentLifetime))
	row("refresh tokens rotate", "%s", yesNo(d.RotatesRefreshTokens))
	row("revocation", "%s", yesNo(d.RevokesTokens))
	row("PKCE", "%s", yesNo(d.PKCE))
	row("abilities", "%s", cmp.Or(strings.Join(d.Abilities, ", "), "none"))
	if err := t.Flush(); err != nil {
		return err
	}
	return printSettings(w, d.SettingsSchema)
}

func joinGrantTypes(types []core.GrantType) string {
	var names []string
	for _, t := range types {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func after(seconds int64) string {
	if seconds == 0 {
		return "never, as far as the vendor says"
	}
	return "after " + lifetime(seconds)
}

// lifetime writes days where they are whole, since vendors do.
func lifetime(seconds int64) string {
	const day = 24 * 60 * 60
	if seconds >= 2*day && seconds%day == 0 {
		return fmt.Sprintf("%d days", seconds/day)
	}
	return (time.Duration(seconds) * time.Second).String()
}

// printSettings writes the settings in the order of their names.
func printSettings(w io.Writer, schema json.RawMessage) error {
	var s struct {
		Properties map[string]struct {
			Description string `json:"description"`
			Default     any    `json:"default"`
			WriteOnly   bool   `json:"writeOnly"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return fmt.Errorf("read the schema of the settings: %w", err)
	}
	if len(s.Properties) == 0 {
		_, err := fmt.Fprintln(w, "\nIt has no settings.")
		return err
	}
	if _, err := fmt.Fprintln(w, "\nsettings:"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		note := ""
		if p.WriteOnly {
			note = " (secret)"
		}
		if p.Default != nil {
			note += fmt.Sprintf(" = %v", p.Default)
		}
		if _, err := fmt.Fprintf(w, "  %s%s\n      %s\n", name, note, p.Description); err != nil {
			return err
		}
	}
	return nil
}
