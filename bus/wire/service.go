package wire

// Role is what a service may do that nats.auth lists.
type Role string

// The roles. Each hears and consumes its tenant's events.
const (
	// Caller asks for tokens, and connects, looks at and revokes grants.
	Caller Role = "caller"
	// Operator may use every endpoint: it lists, imports and forgets grants too.
	Operator Role = "operator"
	// Auditor may use none, and so gets no token.
	Auditor Role = "auditor"
)

// Roles returns every role.
func Roles() []Role { return []Role{Caller, Operator, Auditor} }

// Endpoints returns the endpoints that the role may use.
func (r Role) Endpoints() []Endpoint {
	switch r {
	case Operator:
		return Endpoints()
	case Caller:
		return []Endpoint{
			TokenGet, TokenRefresh, TokenReport, TokenRevoke, GrantAuthorize, GrantExchange, GrantGet, AccountVerify,
			AccountCreate,
		}
	}
	return nil
}

// InboxPrefix returns the prefix of the subjects on which a service gets its answers: _INBOX_<tenant>_<service>.
func InboxPrefix(tenant, service string) string { return "_INBOX_" + tenant + "_" + service }

// Durable returns the name of the consumer of EventStream that the daemon keeps for a service: <tenant>_<service>.
func Durable(tenant, service string) string { return tenant + "_" + service }
