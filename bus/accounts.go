package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/wire"
)

// Permissions returns the part of a nats-server configuration that lets the callers in: an account for esignd, whose user
// has the NKey with the public part daemon, and an account for each caller. The embedded server is configured with the
// same text. Where a caller is known by its certificate, it has the server ask for those, too, and shows names the
// server's own files as that server reads them. A server that runs takes new callers at its second reload: at the first one their accounts come to be, at
// the second what they import works (nats-server 2.15).
func Permissions(prefix, daemon string, callers []Caller, shows tlsfiles.Files) (string, error) {
	if !wire.ValidPrefix(prefix) {
		return "", fmt.Errorf("nats.prefix %q: tokens of letters, digits, _ and -, parted by dots", prefix)
	}
	if !nkeys.IsValidPublicUserKey(daemon) {
		return "", errors.New("the NKey of esignd itself is not the public part of a user NKey (U…)")
	}
	if err := checkCallers(callers); err != nil {
		return "", err
	}
	text := accounts(prefix, fmt.Sprintf("{nkey: %s, permissions: {publish: {deny: [%s]}}}", daemon, quoted(daemonDenied())), callers)
	if one := certified(callers); one != nil {
		if shows.CA == "" || shows.Cert == "" || shows.Key == "" {
			return "", fmt.Errorf("service %s is known by its certificate: name the certificate and key that the NATS server shows, "+
				"and the authority of its clients", one.Name)
		}
		text += mapping(shows)
	}
	return text, nil
}

// mapping returns the tls block of a server that goes by its clients' certificates.
func mapping(shows tlsfiles.Files) string {
	return fmt.Sprintf(`# Users without a password are services that are known by their certificates. Without verify_and_map, whoever
# says their name would be let in: this is the one tls block for clients.
tls {
  cert_file: %s
  key_file: %s
  ca_file: %s
  verify_and_map: true
  min_version: "1.2"
}
`, inConfiguration(shows.Cert), inConfiguration(shows.Key), inConfiguration(shows.CA))
}

// accounts returns the accounts block of a nats-server configuration. users are those of esignd's own account.
func accounts(prefix, users string, callers []Caller) string {
	var b strings.Builder
	line := func(depth int, format string, args ...any) {
		_, _ = fmt.Fprintf(&b, strings.Repeat("  ", depth)+format+"\n", args...)
	}
	line(0, "accounts {")
	line(1, "%s {", stateAccount)
	line(2, "jetstream: enabled")
	line(2, "users: [%s]", users)
	line(2, "exports: [")
	// An account gets of this what its imports say, and those stand here too. To name the accounts at the exports would add
	// nothing but a danger: at a reload nats-server 2.15 compares what an export names, and that is by then the accounts
	// that it is serving, whose maps it reads unlocked.
	for _, tenant := range tenants(callers) {
		line(3, "{service: %q}", prefix+".api."+tenant+".>")
		line(3, "{stream: %q}", wire.TenantEvents(prefix, tenant, ">"))
	}
	for _, c := range callers {
		for _, s := range c.consuming() {
			kind := "singleton"
			if s.many {
				kind = "stream"
			}
			line(3, "{service: %q, response_type: %s}", s.subject, kind)
		}
	}
	line(3, "{service: %q}", nothing(prefix))
	line(2, "]")
	line(1, "}")
	for _, c := range callers {
		c.writeAccount(prefix, line)
	}
	line(0, "}")
	return b.String()
}

// nothing is a subject on which nobody answers.
func nothing(prefix string) string { return prefix + ".nothing" }

func (c Caller) writeAccount(prefix string, line func(int, string, ...any)) {
	line(1, "%q {", c.account())
	line(2, "# service %s of tenant %s, %s", c.Name, c.Tenant, c.role())
	line(2, "users: [")
	for _, user := range c.users() {
		line(3, "{%s, permissions: {", user)
		line(4, "publish: {allow: [%s]}", quoted(c.publishes(prefix)))
		line(4, "subscribe: {allow: [%s]}", quoted(c.subscribes(prefix)))
		line(3, "}}")
	}
	line(2, "]")
	line(2, "imports: [")
	// What is shared is who asks; JetStream does not serve those of whom it does not know that.
	for _, s := range append(c.api(prefix), c.consuming()...) {
		line(3, "{service: {account: %s, subject: %q}, share: true}", stateAccount, s.subject)
	}
	line(3, "{stream: {account: %s, subject: %q}}", stateAccount, c.events(prefix))
	// Without an import of this subject the server imports its own JetStream API, and that answers too, before ours.
	line(3, "{service: {account: %s, subject: %q}, to: %q}", stateAccount, nothing(prefix), "$JS.API.INFO")
	line(2, "]")
	line(1, "}")
}

// users are those that the caller proves itself to be.
func (c Caller) users() []string {
	var list []string
	for _, key := range c.NKeys {
		list = append(list, "nkey: "+key)
	}
	if c.Certificate != "" {
		// No other kind of listener lets in who has no certificate, whatever that one is told of users without a password.
		list = append(list, fmt.Sprintf("user: %s, allowed_connection_types: [%s]", inConfiguration(c.Certificate), jwt.ConnectionTypeStandard))
	}
	return list
}

// tenants lists the callers' tenants, each once.
func tenants(callers []Caller) []string {
	var list []string
	for _, c := range callers {
		if !slices.Contains(list, c.Tenant) {
			list = append(list, c.Tenant)
		}
	}
	return list
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}
