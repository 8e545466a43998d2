package esignd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/esignd/esignd/core"
)

// problems collects everything that is wrong, so that it is told at once.
type problems struct{ list []string }

func (p *problems) addf(at, format string, args ...any) {
	p.list = append(p.list, "  "+at+": "+fmt.Sprintf(format, args...))
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return errors.New(strings.Join(p.list, "\n"))
}

// addSchema tells the leaves of a schema's error in words that name the setting.
func (p *problems) addSchema(e *jsonschema.ValidationError, s *jsonschema.Schema, at string) {
	where := place(at, e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			p.addf(strings.TrimPrefix(where+"."+name, "."), "there is no such setting%s", suggest(name, known(s, e.InstanceLocation)))
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			p.addf(strings.TrimPrefix(where+"."+name, "."), "is missing")
		}
		return
	case *kind.AnyOf, *kind.Schema, *kind.Reference, *kind.Group, *kind.AllOf:
		if strings.HasSuffix(where, "auth") {
			p.addf(where, "say none, for programs on this machine only")
			return
		}
		for _, cause := range e.Causes {
			p.addSchema(cause, s, at)
		}
		return
	case *kind.Type:
		if slices.Equal(k.Want, []string{"object"}) && (strings.HasSuffix(where, "secret") || strings.HasSuffix(where, "wrap")) {
			p.addf(where, "a secret does not stand in the file; write {env: NAME} or {file: PATH}")
			return
		}
		p.addf(where, "is %s, and must be %s", k.Got, strings.Join(k.Want, " or "))
		return
	}
	p.addf(where, "%s", e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// place writes a path as clients[1].settings.api_url.
func place(at string, location []string) string {
	var b strings.Builder
	b.WriteString(at)
	for _, part := range location {
		if strings.Trim(part, "0123456789") == "" {
			b.WriteString("[" + part + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// known lists the properties of the object at a place in the schema.
func known(s *jsonschema.Schema, location []string) []string {
	for _, part := range location {
		for s != nil && s.Ref != nil {
			s = s.Ref
		}
		if s == nil {
			return nil
		}
		if next, ok := s.Properties[part]; ok {
			s = next
			continue
		}
		s = s.Items2020
	}
	for s != nil && s.Ref != nil {
		s = s.Ref
	}
	if s == nil {
		return nil
	}
	return names(s.Properties)
}

// suggest names the nearest known setting.
func suggest(name string, known []string) string {
	best, distance := "", len(name)/2+2
	for _, k := range known {
		if d := editDistance(name, k); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %s?", best)
	case len(known) > 0:
		return "; there are " + strings.Join(known, ", ")
	}
	return ""
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var p problems
	c.check(&p)
	return p.err()
}

func (c Config) check(p *problems) {
	if c.DataDir == "" {
		p.addf("data_dir", "is missing: name a folder that belongs to this esignd alone")
	}
	c.checkNATS(p)
	c.checkHTTP(p)
	seen := map[string]int{}
	for i, cl := range c.Clients {
		at := fmt.Sprintf("clients[%d]", i)
		if first, ok := seen[cl.Name]; ok {
			p.addf(at+".name", "%q is the name of clients[%d] too; names are unique", cl.Name, first)
		}
		seen[cl.Name] = i
		cl.check(at, p)
	}
}

func (c Config) checkNATS(p *problems) {
	if c.NATS.URL != "" {
		if c.Keys.Keyset == "" || c.Keys.Wrap.IsZero() {
			p.addf("keys", "an external NATS server needs keys of yours: set keys.keyset to a file that all replicas share, and keys.wrap to {env: NAME} or {file: PATH} of 32 random bytes in base64 (openssl rand -base64 32)")
		}
		return
	}
	switch {
	case c.NATS.Auth == "":
		p.addf("nats.auth", "is missing: say none to let every program on this machine ask for tokens; esignd does not start on a guess")
	case c.NATS.Auth != AuthNone:
		p.addf("nats.auth", "services are not built in this version; say none and listen on loopback, or use an external NATS server (nats.url) with its own permissions")
	case !loopback(c.NATS.Listen):
		p.addf("nats.listen", "%q with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222", c.NATS.Listen)
	}
	if c.NATS.Replicas != 1 {
		p.addf("nats.replicas", "the embedded server keeps one copy; more need an external cluster (nats.url)")
	}
}

func (c Config) checkHTTP(p *problems) {
	for _, a := range []struct{ at, address string }{{"http.listen", c.HTTP.Listen}, {"http.admin", c.HTTP.Admin}, {"nats.listen", c.NATS.Listen}} {
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			p.addf(a.at, "%q is not host:port", a.address)
		}
	}
	if !loopback(c.HTTP.Admin) {
		p.addf("http.admin", "%q can be reached from the network, and the console asks nobody who they are; listen on a loopback address such as 127.0.0.1:8081", c.HTTP.Admin)
	}
	checkPublic(p, "http.public_url", c.HTTP.PublicURL)
	for i, u := range c.HTTP.ReturnTo {
		checkPublic(p, fmt.Sprintf("http.return_to[%d]", i), u)
	}
}

// checkPublic checks a URL that browsers are sent to: https, or http on this machine.
func checkPublic(p *problems, at, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.addf(at, "%q is not an http or https URL", raw)
	case u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")):
		p.addf(at, "%q sends codes and cookies over the network in the clear; use https", raw)
	}
}

func (c Client) check(at string, p *problems) {
	if c.Name == "" || c.Vendor == "" {
		p.addf(at, "a client needs a name and a vendor")
	}
	if c.ClientID == "" {
		p.addf(at+".client_id", "is missing: the vendor gave it when the application was registered")
	}
	if c.ClientSecret.IsZero() {
		p.addf(at+".client_secret", "is missing: write {env: NAME} or {file: PATH}")
	}
	for i, u := range c.RedirectURIs {
		if parsed, err := url.Parse(u); err != nil || !parsed.IsAbs() || parsed.Fragment != "" {
			p.addf(fmt.Sprintf("%s.redirect_uris[%d]", at, i), "%q is not an absolute URL without a fragment", u)
		}
	}
}

// loopback reports whether a host:port can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CheckSettings checks each client against what its vendor's adapter says of itself: grant type and settings.
func (c Config) CheckSettings(ctx context.Context, adapters core.Adapters) error {
	var p problems
	for i, cl := range c.Clients {
		at := fmt.Sprintf("clients[%d]", i)
		adapter, err := adapters.Adapter(cl.Vendor)
		if err != nil {
			p.addf(at+".vendor", "%v", err)
			continue
		}
		md, err := adapter.Metadata(ctx)
		if err != nil {
			p.addf(at+".vendor", "the plugin of %s does not answer: %v", cl.Vendor, err)
			continue
		}
		if !md.Supports(cl.GrantType) {
			p.addf(at+".grant_type", "%s does not take %s; it takes %v", cl.Vendor, cl.GrantType, md.GrantTypes)
		}
		settings := map[string]any{}
		for name, value := range cl.Settings {
			settings[name] = value
		}
		for name := range cl.SecretSettings {
			settings[name] = "given as a secret"
		}
		if len(md.SettingsSchema) == 0 {
			continue
		}
		if err := checkShape(settings, md.SettingsSchema, at+".settings"); err != nil {
			p.list = append(p.list, err.Error())
		}
	}
	return p.err()
}
