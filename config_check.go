package esignd

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/esignd/esignd/bus/tlsfiles"
)

var semanticVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// Validate reports everything that is wrong with c. It does no I/O.
func (c Config) Validate() error {
	c = c.withDefaults()
	var p problems
	p.addShape(c.document(), configSchema, "")
	if len(p.list) == 0 {
		c.check(&p)
	}
	return p.err(nil)
}

// check finds what the schema cannot.
func (c Config) check(p *problems) {
	if c.NATS.URL != "" {
		c.checkExternal(p)
	} else {
		c.checkEmbedded(p)
	}
	c.NATS.checkServices(p)
	c.checkHTTP(p)
	if !semanticVersion.MatchString(c.Version) {
		p.addf("Version", "%q is not a semantic version such as 1.2.3", c.Version)
	}
	seen := map[string]int{}
	for i, cl := range c.Clients {
		at := fmt.Sprintf("clients[%d]", i)
		if first, ok := seen[cl.Name]; ok {
			p.addf(at+".name", "%q is the name of clients[%d] too; give each a name of its own", cl.Name, first)
		} else {
			seen[cl.Name] = i
		}
		cl.check(at, p)
	}
}

func (c Config) checkExternal(p *problems) {
	if c.Keys.Keyset == "" {
		p.addf("keys.keyset", "is missing: with an external NATS server (nats.url), name a file that all replicas share")
	}
	if c.Keys.Wrap.IsZero() && c.Keys.Wrapper == nil && !p.has("keys.wrap") {
		p.addf("keys.wrap", "is missing: with an external NATS server (nats.url), write {env: NAME} or {file: PATH} of 32 random bytes in base64 (openssl rand -base64 32)")
	}
	c.NATS.TLS.check(p, "nats.tls")
}

// check finds what does not go together. It reads no file.
func (t TLS) check(p *problems, at string) {
	if (t.Cert == "") != (t.Key == "") {
		p.addf(at, "cert and key go together; name both, or neither")
	}
}

// CheckTLS reads the files of TLS, and sees that they are in order and valid now. The error tells all that is wrong, one a
// line. The warnings are about who else on this machine may read or replace them.
func (c Config) CheckTLS() (warnings []string, err error) {
	var p problems
	for at, files := range c.tls() {
		w, err := tlsfiles.Check(at, files)
		warnings = append(warnings, w...)
		if err != nil {
			at, text, _ := strings.Cut(err.Error(), ": ")
			p.addf(at, "%s", text)
		}
	}
	slices.Sort(warnings)
	return warnings, p.err(nil)
}

// tls returns the files of TLS by where they are named.
func (c Config) tls() map[string]tlsfiles.Files {
	return map[string]tlsfiles.Files{"nats.tls": tlsfiles.Files(c.NATS.TLS), "http.tls": tlsfiles.Files(c.HTTP.TLS)}
}

// checkListener is check for what listens, and so needs a certificate.
func (t TLS) checkListener(p *problems, at string) {
	t.check(p, at)
	if t.CA != "" && t.Cert == "" && t.Key == "" {
		p.addf(at+".ca", "asks for certificates, which goes with TLS only; name cert and key as well")
	}
}

func (c Config) checkEmbedded(p *problems) {
	switch {
	case c.NATS.Auth == "":
		p.addf("nats.auth", "is missing: %s; esignd does not start on a guess", authWords)
	case checkAddress(p, "nats.listen", c.NATS.Listen, "127.0.0.1:4222") && c.NATS.Auth == AuthNone && !loopback(c.NATS.Listen):
		p.addf("nats.listen", "%q with nats.auth none would give every token to the network; listen on a loopback address such as 127.0.0.1:4222", c.NATS.Listen)
	}
	if c.NATS.Replicas != 1 {
		p.addf("nats.replicas", "the embedded server keeps one copy; say 1, or use an external cluster (nats.url)")
	}
	if c.NATS.Credentials != "" {
		p.addf("nats.credentials", "is for an external server; set nats.url, or leave it out")
	}
	c.NATS.TLS.checkListener(p, "nats.tls")
}

func (c Config) checkHTTP(p *problems) {
	checkAddress(p, "http.listen", c.HTTP.Listen, "127.0.0.1:8080")
	if checkAddress(p, "http.admin", c.HTTP.Admin, "127.0.0.1:8081") {
		c.checkAdmin(p)
	}
	if _, wrong := c.HTTP.proxies(); wrong != "" {
		p.addf("http.trusted_proxies", "%q is neither an address nor a network such as 10.1.0.0/16", wrong)
	}
	if !p.has("http.listen") {
		checkBrowserURL(p, "http.public_url", c.HTTP.PublicURL)
	}
	u, err := url.Parse(c.HTTP.PublicURL)
	if err == nil && u.RawQuery != "" {
		p.addf("http.public_url", "has a query; paths are appended to it, so leave that out")
	}
	if err == nil && u.Scheme == "http" && c.HTTP.TLS.Cert != "" {
		p.addf("http.public_url", "%q begins with http://, and with http.tls the listener speaks https; say https://", c.HTTP.PublicURL)
	}
	c.HTTP.TLS.checkListener(p, "http.tls")
	for i, u := range c.HTTP.ReturnTo {
		checkBrowserURL(p, fmt.Sprintf("http.return_to[%d]", i), u)
	}
}

// leastMetricsToken is the length of a token that nobody guesses, in characters.
const leastMetricsToken = 32

// checkAdmin checks who may see the console, and by which address.
func (c Config) checkAdmin(p *problems) {
	switch {
	case c.HTTP.AdminURL != "":
		checkBrowserURL(p, "http.admin_url", c.HTTP.AdminURL)
		if u, err := url.Parse(c.HTTP.AdminURL); err == nil && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
			p.addf("http.admin_url", "has a path or a query; the console is at its top, so leave that out")
		}
	case !loopback(c.HTTP.Admin):
		p.addf("http.admin", "%q can be reached from the network, so operators need an address by which a session does not go in the clear: "+
			"set http.admin_url to it, https, or http to a port that is forwarded to this machine; or listen on a loopback address such as 127.0.0.1:8081", c.HTTP.Admin)
	}
	if token := c.HTTP.MetricsToken; !token.IsZero() && len(token.Reveal()) < leastMetricsToken {
		p.addf("http.metrics_token", "is shorter than %d characters; `openssl rand -hex 32` makes one that nobody guesses", leastMetricsToken)
	}
}

// checkAddress reports whether an address is host:port.
func checkAddress(p *problems, at, address, example string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.addf(at, "%q is not host:port, such as %s", address, example)
	}
	return err == nil
}

// checkBrowserURL checks a URL that browsers are sent to: https, or http on this machine.
func checkBrowserURL(p *problems, at, raw string) {
	u, err := url.Parse(raw)
	switch {
	case hasUser(raw):
		// There may be a password with it, so the URL is not repeated.
		p.addf(at, "names a user (before the @); leave that out")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.addf(at, "%q is not a URL that begins with https:// or http://", raw)
	case u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")):
		p.addf(at, "%q sends codes and cookies over the network in the clear; use https (http is for this machine, such as http://127.0.0.1:8080)", raw)
	case u.Fragment != "":
		p.addf(at, "%q has a fragment (#...); leave that out", raw)
	}
}

// hasUser reports whether there is a user, and perhaps a password, in a URL, be it one or not.
func hasUser(raw string) bool {
	if _, rest, ok := strings.Cut(raw, "//"); ok {
		raw = rest
	}
	authority, _, _ := strings.Cut(raw, "/")
	return strings.Contains(authority, "@")
}

func (c Client) check(at string, p *problems) {
	if c.ClientID == "" {
		p.addf(at+".client_id", "is missing: the vendor gave it when the application was registered")
	}
	if c.ClientSecret.IsZero() && !p.has(at+".client_secret") {
		p.addf(at+".client_secret", "is missing: write {env: NAME} or {file: PATH}")
	}
	for i, u := range c.RedirectURIs {
		checkBrowserURL(p, fmt.Sprintf("%s.redirect_uris[%d]", at, i), u)
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
