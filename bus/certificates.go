package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/tlsfiles"
)

// openTLS reads the files of TLS, nil where there are none or where nobody can connect.
func (c Config) openTLS() (*tlsfiles.Source, error) {
	if c.TLS == (tlsfiles.Files{}) || c.URL == "" && c.offline {
		return nil, nil
	}
	return tlsfiles.Open(tlsfiles.Config{Files: c.TLS, Setting: "nats.tls", Logger: c.Logger})
}

// certified returns the first caller that is known by its certificate, nil where none is.
func certified(callers []Caller) *Caller {
	for i := range callers {
		if callers[i].Certificate != "" {
			return &callers[i]
		}
	}
	return nil
}

// maxCertificateName bounds the name of a certificate, in bytes.
const maxCertificateName = 256

func checkCertificateName(name string) error {
	switch {
	case len(name) > maxCertificateName:
		return fmt.Errorf("it is longer than %d bytes", maxCertificateName)
	case strings.TrimSpace(name) != name, strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%q has spaces around it, or a control character in it", name)
	}
	return nil
}

// certificateKey is the same for names that NATS takes for the same: parts of a subject in another order, or written
// otherwise.
func certificateKey(name string) string {
	if !strings.Contains(name, "=") || strings.Contains(name, "://") {
		return name
	}
	var parts []string
	begin, escaped := 0, false
	for i, r := range name {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == ',' || r == '+' || r == ';':
			parts, begin = append(parts, name[begin:i]), i+1
		}
	}
	parts = append(parts, name[begin:])
	for i, part := range parts {
		kind, value, _ := strings.Cut(part, "=")
		parts[i] = strings.ToUpper(strings.TrimSpace(kind)) + "=" + strings.ToLower(strings.TrimSpace(value))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// inConfiguration writes text as nats-server's configuration has it. It knows fewer escapes than Go.
func inConfiguration(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// checkMapping sees that an external server asks the callers that are known by certificates for those. To nats-server they
// are users without a password: where it does not map certificates to users, whoever says such a name would be let in.
func (s *session) checkMapping(ctx context.Context, callers []Caller) error {
	one := certified(callers)
	if s.cfg.URL == "" || one == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	opts := append(tlsOptions(s.cfg.TLS, s.files), nats.Name("esignd-probe"), nats.UserInfo(one.Certificate, ""),
		nats.NoReconnect(), nats.Timeout(connectTimeout),
		// A service may not ask who it is, and hears so here.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { cancel() }))
	var servers []string
	for u := range strings.SplitSeq(s.cfg.URL, ",") {
		servers = append(servers, withoutUser(strings.TrimSpace(u)))
	}
	nc, err := nats.Connect(strings.Join(servers, ","), opts...)
	if err != nil {
		return nil // nobody is let in so; that there is a server, the other connections have shown
	}
	defer nc.Close()
	if who, err := userOf(ctx, nc); err == nil && who != one.Certificate {
		return nil // the server went by the certificate that we showed
	}
	return errors.New("the NATS server lets in whoever says to be service " + one.Name + ", without its certificate: " +
		"give it tls {verify_and_map: true}, as `esignd permissions` writes it")
}

// userOf asks the server who it takes a connection for. Who may not ask gets no answer.
func userOf(ctx context.Context, nc *nats.Conn) (string, error) {
	m, err := nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return "", fmt.Errorf("ask NATS for the user of a connection: %w", err)
	}
	var info struct {
		Data struct {
			User string `json:"user"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return "", fmt.Errorf("ask NATS for the user of a connection: %w", err)
	}
	return info.Data.User, nil
}
