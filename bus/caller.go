package bus

import (
	"fmt"
	"slices"

	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/wire"
)

// Auth says who may connect to the embedded server: either anybody on this machine, or the callers listed.
type Auth struct {
	// None lets every program on this machine use the API and discovery, subscribe to events and consume the event
	// stream, and nothing else. It goes with a loopback address only.
	None bool
	// Callers are the services that may connect.
	Callers []Caller
}

// Caller is a service that may connect. It may use the endpoints of its role with its tenant, subscribe to its tenant's
// events, consume them through the durable consumer <tenant>_<name> that the Bus keeps for it, and receive answers under
// _INBOX_<tenant>_<name>.
//
// Each has a NATS account of its own, into which that is imported. So a reply subject, which is the caller's to choose,
// leads nowhere but to the caller itself; and requests tell who made them ([Identity]).
type Caller struct {
	Name   string
	Tenant string
	// Role is caller where it is empty.
	Role wire.Role
	// NKeys are the public parts of the user NKeys by which it proves itself; any of them will do.
	NKeys []string
	// Certificate takes the place of NKeys: a name in the certificate that it shows, which is its subject (CN=billing,O=Acme),
	// an e-mail address, a DNS name or a URI.
	Certificate string
}

func (c Caller) role() wire.Role {
	if c.Role == "" {
		return wire.Caller
	}
	return c.Role
}

// account is the name of the caller's NATS account.
func (c Caller) account() string { return callerAccounts + c.Tenant + "_" + c.Name }

// callerAccounts begins the names of the callers' accounts.
const callerAccounts = stateAccount + "_"

func (c Caller) inbox() string   { return wire.InboxPrefix(c.Tenant, c.Name) }
func (c Caller) durable() string { return wire.Durable(c.Tenant, c.Name) }

func checkCallers(callers []Caller) error {
	inboxes, keys := map[string]bool{}, map[string]string{}
	for _, c := range callers {
		switch {
		case !wire.ValidToken(c.Name):
			return fmt.Errorf("nats.auth service %q: a name is letters, digits, _ and -", c.Name)
		case !wire.ValidToken(c.Tenant):
			return fmt.Errorf("nats.auth service %s: tenant %q: letters, digits, _ and -", c.Name, c.Tenant)
		case !slices.Contains(wire.Roles(), c.role()):
			return fmt.Errorf("nats.auth service %s: role %q: caller, operator or auditor", c.Name, c.Role)
		case len(c.NKeys) == 0 && c.Certificate == "":
			return fmt.Errorf("nats.auth service %s: give it an nkey, which `esignd creds new` makes, or name its certificate", c.Name)
		case len(c.NKeys) > 0 && c.Certificate != "":
			return fmt.Errorf("nats.auth service %s has nkeys and a certificate: give it one of them", c.Name)
		case inboxes[c.inbox()]:
			return fmt.Errorf("nats.auth service %s: another service has the same reply subjects (%s.>)", c.Name, c.inbox())
		}
		inboxes[c.inbox()] = true
		for _, key := range c.NKeys {
			if !nkeys.IsValidPublicUserKey(key) {
				return fmt.Errorf("nats.auth service %s: nkey %q is not the public part of a user NKey (U…)", c.Name, key)
			}
			if other, ok := keys[key]; ok {
				return fmt.Errorf("nats.auth service %s: service %s has the same nkey; give each a key of its own", c.Name, other)
			}
			keys[key] = c.Name
		}
		if c.Certificate == "" {
			continue
		}
		if err := checkCertificateName(c.Certificate); err != nil {
			return fmt.Errorf("nats.auth service %s: certificate: %w", c.Name, err)
		}
		same := certificateKey(c.Certificate)
		if other, ok := keys[same]; ok {
			return fmt.Errorf("nats.auth service %s: service %s has the same certificate; give each one of its own", c.Name, other)
		}
		keys[same] = c.Name
	}
	return nil
}
