package core

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files of the formats that this release writes")

var day = time.Date(2026, 3, 4, 5, 6, 7, 80, time.UTC)

// goldenRecords are records with every member set, as this release writes them.
func goldenRecords() map[string]any {
	owed := Event{
		ID: "e1", Type: TokenRefreshFailed, Time: day, Tenant: "acme", Client: "main", Vendor: "adobesign", Account: "a@example.com", Grant: "g_1",
		Generation: 7, Scope: []string{"sign"}, IssuedAt: &day, ExpiresAt: &day, Reason: "timeout", VendorRevoked: new(bool), ConsentExpiresAt: &day,
		Attempts: 2, NextAttempt: &day, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	try := attempt{ID: "a1", Owner: "folder/process", Duration: claimDuration, Generation: 7, LastTry: true, Probe: true}
	g := &grant{
		Format: grantFormat, ID: "g_1", Tenant: "acme", Client: "main", Vendor: "adobesign", Account: "a@example.com", State: Active, Reason: "invalid_grant",
		Forgotten: true, Consent: "c1", ConsentedAt: day, ConsentExpiresAt: day, ConsentNotice: 30, Generation: 7, Scope: []string{"sign"}, TokenType: "Bearer",
		APIBaseURL: "https://api.na1.adobesign.com", AccountID: "id-1", Lifetime: time.Hour, Age: time.Minute, IssuedAt: day, CommitAge: time.Second, Rotating: true,
		Uncertain: true, Restored: true, Expiring: true, Attempt: &try, Settled: "a0",
		Failures:       failures{Count: 2, Code: "timeout", At: day, First: day, Unproven: 1, Next: day},
		RevocationOwed: true, RevocationReason: "left", Ends: 1, VendorRevoked: true, ForgetOwed: true, Debts: []Event{owed}, LastEvent: TokenExpiring, LastEventAt: day,
	}
	return map[string]any{
		"grant": g,
		"client": &clientRecord{
			Format: clientFormat, Name: "main", Vendor: "adobesign", Rotating: true, RetryAt: day, Unavailable: true, VendorSince: day, Debts: []Event{owed},
			Suspended: &suspension{Fingerprints: []string{"f"}, Code: "invalid_client", Since: day, Probes: 3, ProbeAt: day, ProbedAt: day, Owner: "folder/process", Superseded: true},
		},
		"ticket": &ticket{
			Format: ticketFormat, Grant: "g_1", Tenant: "acme", Client: "main", Account: "a@example.com", Scopes: []string{"sign"}, ReturnTo: "https://example.com",
			LinkUntil: day, ExpiresAt: day,
			States: []openState{{Digest: "d", Cookie: "c", RedirectURI: "https://example.com/cb", Scopes: []string{"sign"}, ExpiresAt: day}},
		},
		"kept": &keptResult{
			Format: grantFormat, Kind: byRefresh, Grant: "g_1", Attempt: try, Consent: "c1", Generation: 7, Sent: day,
			Failure: &VendorError{Outcome: Refused, Code: "invalid_grant", Status: 400, RetryAfter: time.Second, Detail: "refused"},
			Rotates: true, Rotated: true, TokenType: "Bearer", ExpiresIn: time.Hour, Default: time.Hour, Scope: []string{"sign"}, APIBaseURL: "https://api.example.com",
			AccountID: "id-1", Client: "main", SentTo: "https://api.example.com", Ends: 1, Begun: day, Blank: &grant{Format: grantFormat, ID: "g_1", State: Pending}, ConsentFor: time.Hour,
		},
	}
}

// format is the number that a golden record carries.
func format(record any) int64 { return reflect.ValueOf(record).Elem().FieldByName("Format").Int() }

// What this release writes is in the golden file of its format, member for member: a change needs a new format.
func TestRecordsAreWrittenInTheirFormat(t *testing.T) {
	for kind, record := range goldenRecords() {
		t.Run(kind, func(t *testing.T) {
			v := reflect.ValueOf(record).Elem()
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() && v.Field(i).IsZero() {
					t.Errorf("%s is not set in the golden record", f.Name)
				}
			}
			got := append(indented(t, record), '\n')
			path := filepath.Join("testdata", fmt.Sprintf("%s.v%d.json", kind, format(record)))
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("what is written is not what %s has. Records of users are in that format: give the change a new one, and read both\n%s", path, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every format that a release wrote is read by this one.
func TestRecordsOfEveryFormatAreRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.v*.json")
	if err != nil || len(files) < len(goldenRecords()) {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, path := range files {
		kind, _, _ := strings.Cut(filepath.Base(path), ".")
		public, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := goldenRecords()[kind]
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		number := int(format(want))
		if _, err := decodePublic(Record{Key: kind, Public: public}, got, &number, number); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		private := cmpopts.IgnoreUnexported(grant{}, clientRecord{}, ticket{}, keptResult{}, attempt{}, VendorError{})
		if diff := cmp.Diff(want, got, private); diff != "" {
			t.Errorf("%s is read as something else:\n%s", path, diff)
		}
	}
}

// A record of the next format is read, and what this release does not know of it outlives a write.
func TestTheNextFormatIsReadAndKept(t *testing.T) {
	public, err := os.ReadFile("testdata/grant.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	const added = `"format": 2, "colour": {"of": ["a", "later", "release"]},`
	rec := Record{Key: kindGrant + "g_1", Public: bytes.Replace(public, []byte(`"format": 1,`), []byte(added), 1), Revision: 3}
	g, err := decodeGrant(rec)
	if err != nil {
		t.Fatal(err)
	}
	g = g.clone()
	g.Generation = 8
	written, err := g.record()
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]any
	if err := json.Unmarshal(rec.Public, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written.Public, &after); err != nil {
		t.Fatal(err)
	}
	before["generation"] = 8.0
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("written again, it is another:\n%s", diff)
	}
	if again, err := decodeGrant(written); err != nil || again.Generation != 8 || len(again.unknown) != 1 {
		t.Errorf("read again: %v, %v", again, err)
	}

	rec.Public = bytes.Replace(public, []byte(`"format": 1,`), []byte(`"format": 3,`), 1)
	if _, err := decodeGrant(rec); err == nil || !strings.Contains(err.Error(), "format 3") || !strings.Contains(err.Error(), "run a newer one") {
		t.Errorf("two formats ahead: %v", err)
	}
}
