package wire

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/esignd/esignd/core"
)

// DefaultPrefix is the first part of every subject unless the daemon is configured otherwise.
const DefaultPrefix = "esign"

// EventStream is the name of the JetStream stream that holds the events.
const EventStream = "ESIGN_EVENTS"

// NoGrant stands in an event's subject where the event is of a client or a vendor and not of a grant.
const NoGrant = "_"

// Endpoint is one request of the API, as it ends the subject.
type Endpoint string

// The endpoints.
const (
	TokenGet       Endpoint = "token.get"
	TokenRefresh   Endpoint = "token.refresh"
	TokenReport    Endpoint = "token.report"
	TokenRevoke    Endpoint = "token.revoke"
	GrantAuthorize Endpoint = "grant.authorize"
	GrantExchange  Endpoint = "grant.exchange"
	GrantImport    Endpoint = "grant.import"
	GrantGet       Endpoint = "grant.get"
	GrantForget    Endpoint = "grant.forget"
	GrantList      Endpoint = "grant.list"
	AccountVerify  Endpoint = "account.verify"
	AccountCreate  Endpoint = "account.create"
)

// Endpoints returns every endpoint.
func Endpoints() []Endpoint {
	return []Endpoint{
		TokenGet, TokenRefresh, TokenReport, TokenRevoke, GrantAuthorize, GrantExchange, GrantImport, GrantGet,
		GrantForget, GrantList, AccountVerify, AccountCreate,
	}
}

var (
	prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	typeForm   = regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
)

// ValidToken reports whether s can stand as one token in a subject: letters, digits, "-" and "_". Tenants, vendors
// and grants are such.
func ValidToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// ValidPrefix reports whether s can begin subjects: one or more valid tokens, parted by dots.
func ValidPrefix(s string) bool { return prefixForm.MatchString(s) }

// APISubject returns <prefix>.api.<tenant>.<endpoint>. With the tenant "*" it is the subject of all tenants, for a
// subscription.
func APISubject(prefix, tenant string, e Endpoint) string {
	return prefix + ".api." + tenant + "." + string(e)
}

// TenantOf returns the tenant of a subject that APISubject returned for this prefix and endpoint. It is invalid_request
// where what stands in its place is not a valid token.
func TenantOf(prefix string, e Endpoint, subject string) (string, error) {
	rest, begins := strings.CutPrefix(subject, prefix) // in pieces: every request comes by here, and joining them takes longer
	rest, api := strings.CutPrefix(rest, ".api.")
	rest, ends := strings.CutSuffix(rest, string(e))
	tenant, whole := strings.CutSuffix(rest, ".")
	if !begins || !api || !ends || !whole || !ValidToken(tenant) {
		return "", core.FieldErrorf("tenant", "the subject's tenant is letters, digits, - and _")
	}
	return tenant, nil
}

// EventSubject returns <prefix>.event.<tenant>.<type>.<vendor>.<grant>, where an empty grant stands as NoGrant. The
// type is two tokens. An error says that a part is not safe in a subject.
func EventSubject(prefix string, e core.Event) (string, error) {
	grant := e.Grant
	if grant == "" {
		grant = NoGrant
	}
	switch {
	case !ValidToken(e.Tenant):
		return "", fmt.Errorf("tenant %q cannot stand in a subject", e.Tenant)
	case !typeForm.MatchString(string(e.Type)):
		return "", fmt.Errorf("event type %q cannot stand in a subject", e.Type)
	case !ValidToken(e.Vendor):
		return "", fmt.Errorf("vendor %q cannot stand in a subject", e.Vendor)
	case !ValidToken(grant):
		return "", fmt.Errorf("grant %q cannot stand in a subject", grant)
	}
	return TenantEvents(prefix, e.Tenant, "") + "." + string(e.Type) + "." + e.Vendor + "." + grant, nil
}

// LastEventSubject returns the subject of the events of e's type about e's grant, and where e has no type the filter of
// all types.
func LastEventSubject(prefix string, e core.Event) (string, error) {
	if e.Type != "" {
		return EventSubject(prefix, e)
	}
	e.Type = core.TokenIssued // any
	subject, err := EventSubject(prefix, e)
	return strings.Replace(subject, "."+string(e.Type)+".", ".*.*.", 1), err
}

// TenantEvents returns <prefix>.event.<tenant>, followed by a dot and rest where rest is not empty. With the rest ">"
// it is the filter of all the tenant's events.
func TenantEvents(prefix, tenant, rest string) string {
	s := prefix + ".event." + tenant
	if rest != "" {
		s += "." + rest
	}
	return s
}

// EventName is what an event's subject tells.
type EventName struct {
	Tenant string
	Type   core.EventType
	Vendor string
	Grant  string // empty where the subject has NoGrant
}

// ParseEventSubject reads a subject that EventSubject returned for this prefix.
func ParseEventSubject(prefix, subject string) (EventName, error) {
	rest, ok := strings.CutPrefix(subject, prefix+".event.")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 5 {
		return EventName{}, fmt.Errorf("%q is not the subject of an event under %s", subject, prefix)
	}
	n := EventName{
		Tenant: parts[0], Type: core.EventType(parts[1] + "." + parts[2]), Vendor: parts[3], Grant: parts[4],
	}
	if n.Grant == NoGrant {
		n.Grant = ""
	}
	return n, nil
}
