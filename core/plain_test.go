package core

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// resting returns a grant that rests with every member that such a one may have.
func resting() *grant {
	g := goldenRecords()["grant"].(*grant).clone()
	g.Attempt, g.Debts, g.Failures, g.RevocationOwed, g.ForgetOwed = nil, nil, failures{}, false, false
	return g
}

func TestGrantsThatRestAreReadQuickly(t *testing.T) {
	least := &grant{Format: grantFormat, ID: "g_2", State: Pending}
	usual := resting()
	usual.Forgotten, usual.Scope, usual.AccountID, usual.ConsentNotice = false, []string{"read", "write"}, "", 0
	for _, want := range []*grant{resting(), least, usual} {
		public, err := encodePublic(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := &grant{ID: want.ID}
		if !readPlain(public, want.ID, got) {
			t.Fatalf("is not: %s", public)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(grant{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", public, d)
		}
	}
}

// FuzzReadPlain holds that what is read quickly is read so by encoding/json too.
func FuzzReadPlain(f *testing.F) {
	whole, err := json.Marshal(resting())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole))
	for _, body := range []string{
		`{}`, `{"format":1,"id":"g_1"}`,
		`{"format":1,"id":"g_1","tenant":"t","client":"c","vendor":"v","state":"active","generation":1}`,
		`{"format":1,"id":"g_1","tenant":"t","client":"c","vendor":"v","account":"\u0061","state":"active","generation":01}`,
		`{"format":1,"id":"g_1","tenant":"t","client":"c","vendor":"v","state":"active","generation":1,"scope":["a","b"],"age":9223372036854775808}`,
		`{"format":1,"id":"g_1","tenant":"t","client":"c","vendor":"v","state":"active","consented_at":"2026-01-02T3:04:05,5Z","generation":1e3}`,
		`{"format":1,"id":"g_1","tenant":"t","client":"c","vendor":"v","state":"active","generation":1,"later":{}}`,
		`{"format":1,"id":"g_1","tenant":"\xff","client":"c","vendor":"v","state":"active","generation":1}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := &grant{ID: "g_1"}
		if !readPlain([]byte(body), "g_1", got) {
			return
		}
		want := &grant{}
		if err := json.Unmarshal([]byte(body), want); err != nil {
			t.Fatalf("%q is not JSON: %v", body, err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(grant{}), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
			t.Errorf("%q: %s", body, d)
		}
	})
}

func BenchmarkReadGrant(b *testing.B) {
	g := resting()
	public, err := encodePublic(g, nil)
	if err != nil {
		b.Fatal(err)
	}
	rec := Record{Key: kindGrant + g.ID, Public: public}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeBrief(rec); err != nil {
			b.Fatal(err)
		}
	}
}
