package core

import (
	"hash/maphash"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// A grant that rests is kept in this many bytes, and its id and account.
func TestBriefIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(brief{}); size > 112 {
		t.Errorf("a brief takes %d bytes, and then 128 or more of the heap", size)
	}
}

// TestBriefHasAllThatIsPlannedBy holds that a grant that rests is planned, listed and found by its brief as by the whole.
func TestBriefHasAllThatIsPlannedBy(t *testing.T) {
	// What a brief leaves out: of no use without the secrets, or empty in a grant that rests.
	without := map[string]bool{
		"Format": true, "Consent": true, "ConsentedAt": true, "CommitAge": true, "Settled": true, "Attempt": true,
		"Failures": true, "RevocationOwed": true, "RevocationReason": true, "ForgetOwed": true, "Debts": true,
		"tokens": true, "brief": true, "time": true, "unknown": true, "Age": true,
	}
	g := &grant{}
	v := reflect.ValueOf(g).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); !without[f.Name] && f.IsExported() {
			fill(t, f.Name, v.Field(i))
		}
	}
	g.revision, g.tokens = 5, tokens{Access: NewSecret("a"), Refresh: NewSecret("r")}
	if !g.rests() {
		t.Fatal("the grant does not rest")
	}
	epoch := time.Now()
	e := &entry{g: g, age: time.Minute, seen: epoch.Add(time.Second), caughtUp: true}
	got := briefOf(e, epoch, maphash.MakeSeed()).entry(g.ID, epoch)
	if got.age != e.age || !got.caughtUp || !got.seen.Equal(e.seen) || got.left() != e.left() && (got.left()-e.left()).Abs() > time.Second {
		t.Errorf("age %s seen %s left %s", got.age, got.seen, got.left())
	}
	w := reflect.ValueOf(got.g).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if without[f.Name] || !f.IsExported() {
			continue
		}
		if d := cmp.Diff(v.Field(i).Interface(), w.Field(i).Interface()); d != "" {
			t.Errorf("%s: %s", f.Name, d)
		}
	}
	if got.g.revision != 5 || got.g.tokens.Access.IsZero() || got.g.tokens.Refresh.IsZero() {
		t.Errorf("revision %d, or a token is not told to be there", got.g.revision)
	}
	if _, err := got.g.record(); err == nil {
		t.Error("a grant without its secrets can be written")
	}
}

// fill gives a field a value that is not zero.
func fill(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1e9, 7).UTC()))
		return
	case []string:
		v.Set(reflect.ValueOf([]string{"one", "two"}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	default:
		t.Fatalf("a grant has the new field %s: say whether a brief has it", name)
	}
}
