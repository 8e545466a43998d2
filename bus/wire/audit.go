package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// AuditStream is the name of the JetStream stream that holds the audit.
const AuditStream = "ESIGN_AUDIT"

// AuditAction names an act that the audit has: an endpoint's name for what is asked on it, or one of those below.
type AuditAction string

// The actions that are no endpoint's.
const (
	// AuditRefresh is a refresh that esignd made at the vendor, for a caller or ahead of time.
	AuditRefresh AuditAction = "refresh"
	// AuditCallback is the end of a connect flow in a browser.
	AuditCallback AuditAction = "connect.callback"
	// AuditVendorEvent is what a vendor sent by itself, and its adapter took for genuine.
	AuditVendorEvent AuditAction = "vendor.event"
	// AuditConsole is a page of grants in the console.
	AuditConsole AuditAction = "console.list"
	// AuditKeysRotate, AuditKeysDrop and AuditBackup are the commands of these names.
	AuditKeysRotate AuditAction = "keys.rotate"
	AuditKeysDrop   AuditAction = "keys.drop"
	AuditBackup     AuditAction = "backup"
	AuditRestore    AuditAction = "restore"
	// AuditRead and AuditFind are a look into the audit itself.
	AuditRead AuditAction = "audit.read"
	AuditFind AuditAction = "audit.find"
	// AuditResumed tells that the audit could not be written since a time, and can be again.
	AuditResumed AuditAction = "audit.resumed"
)

// ActorKind says how it is known who acted.
type ActorKind string

// The kinds of actors.
const (
	ActorService ActorKind = "service" // a NATS account other than esignd's own: NATS says which, and which user
	ActorTenant  ActorKind = "tenant"  // somebody who may publish on the tenant's subjects: NATS says no more
	ActorBrowser ActorKind = "browser" // a browser in the connect flow
	ActorVendor  ActorKind = "vendor"  // the vendor of a client
	ActorConsole ActorKind = "console" // whoever reaches the admin listener
	ActorCommand ActorKind = "command" // a command of esignd's own user, or root, on its machine
	ActorEsignd  ActorKind = "esignd"  // esignd of itself
)

// AuditActor says who acted.
type AuditActor struct {
	Kind ActorKind `json:"kind"`
	// Tenant is that of the request's subject.
	Tenant string `json:"tenant,omitempty"`
	// Service is the name of a service of nats.auth; Account and User are the NATS account and user of the request.
	Service string `json:"service,omitempty"`
	Account string `json:"account,omitempty"`
	User    string `json:"user,omitempty"`
}

// AuditOK is the outcome of an act that was done. Any other is the code of an error.
const AuditOK = "ok"

// AuditEntry tells of one act. It holds no secret: a token that was handed out stands in it as a fingerprint, which only
// an esignd that has the store's key can make.
type AuditEntry struct {
	ID     string      `json:"id"`   // the same entry has the same id, should it come twice
	Time   time.Time   `json:"time"` // when the act ended; milliseconds
	Action AuditAction `json:"action"`
	By     AuditActor  `json:"by"`
	// Outcome is AuditOK or an error code, and Reason that error's.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	// Tenant, Client, Vendor, Account and Grant are of the grant, as far as the act names it or found it.
	Tenant  string `json:"tenant,omitempty"`
	Client  string `json:"client,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Account string `json:"account,omitempty"`
	Grant   string `json:"grant,omitempty"`
	// Generation is that of the token handed out, or of the grant after the act.
	Generation uint64 `json:"generation,omitempty"`
	// Token is the keyed fingerprint of the access token that was handed out, or that a refresh brought.
	Token   string `json:"token_fingerprint,omitempty"`
	TraceID string `json:"trace_id,omitempty"`
	// Replica is the id of the data_dir of the esignd that wrote the entry.
	Replica string `json:"replica"`
	// Since is from when on the audit could not be written, in an AuditResumed, and Refused how many acts were not done meanwhile.
	Since   *time.Time `json:"since,omitempty"`
	Refused uint64     `json:"refused,omitempty"`
}

// Audit is the body of a message of AuditStream: entries of one tenant, oldest first. Several are in a message where they
// came at once.
type Audit struct {
	Entries []AuditEntry `json:"entries"`
}

// AuditSubject returns <prefix>.audit.tenant.<tenant>, on which the entries about a tenant's grants are, and with an empty
// tenant <prefix>.audit.daemon, on which those are that are of no one tenant. With the tenant "*" it is the filter of
// all tenants.
func AuditSubject(prefix, tenant string) string {
	if tenant == "" {
		return prefix + ".audit.daemon"
	}
	return prefix + ".audit.tenant." + tenant
}

// ParseAuditSubject returns the tenant of a subject that AuditSubject returned for this prefix, empty for that of no one
// tenant.
func ParseAuditSubject(prefix, subject string) (tenant string, err error) {
	rest, ok := strings.CutPrefix(subject, prefix+".audit.")
	if ok && rest == "daemon" {
		return "", nil
	}
	tenant, of := strings.CutPrefix(rest, "tenant.")
	if !ok || !of || !ValidToken(tenant) {
		return "", fmt.Errorf("%q is not a subject of the audit under %s", subject, prefix)
	}
	return tenant, nil
}

// DecodeAudit reads the body of a message of AuditStream. An error says what of it is not as esignd writes it.
func DecodeAudit(body []byte) ([]AuditEntry, error) {
	var a Audit
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	if len(a.Entries) == 0 {
		return nil, errors.New("read the audit: a message has no entries")
	}
	for i, e := range a.Entries {
		if e.ID == "" || e.Time.IsZero() || e.Action == "" || e.By.Kind == "" || e.Outcome == "" {
			return nil, fmt.Errorf("read the audit: entry %d of a message has no id, time, action, by or outcome", i)
		}
	}
	return a.Entries, nil
}
