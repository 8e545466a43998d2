package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func newKey(t testing.TB) wire.CurveKey {
	t.Helper()
	k, err := wire.NewCurveKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedBodyOpensForItsReaderAlone(t *testing.T) {
	daemon, caller, other := newKey(t), newKey(t), newKey(t)
	const body = `{"access_token":"canary"}`
	sealed, err := daemon.Seal([]byte(body), caller.Public())
	if err != nil || strings.Contains(string(sealed), "canary") {
		t.Fatalf("sealed %q: %v", sealed, err)
	}
	if got, err := caller.Open(sealed, daemon.Public()); err != nil || string(got) != body {
		t.Errorf("opened %q: %v", got, err)
	}
	if _, err := other.Open(sealed, daemon.Public()); err == nil {
		t.Error("another key opens it")
	}
	if _, err := caller.Open(sealed, other.Public()); err == nil {
		t.Error("it opens as sealed by another")
	}
	for i := range sealed {
		changed := []byte(string(sealed))
		changed[i] ^= 1
		if _, err := caller.Open(changed, daemon.Public()); err == nil {
			t.Errorf("byte %d changed, and it opens", i)
		}
	}
}

// What we seal is what NKeys in every language opens.
func TestSealIsThatOfNKeys(t *testing.T) {
	daemon := newKey(t)
	caller, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	public, err := caller.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := daemon.Seal([]byte("body"), public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := caller.Open(sealed, daemon.Public()); err != nil || string(got) != "body" {
		t.Errorf("opened %q: %v", got, err)
	}
}

func TestRequestSaysToWhomItsAnswerIsSealed(t *testing.T) {
	key := newKey(t).Public()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	userKey, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		header map[string][]string
		want   string
		bad    bool
	}{
		"no header":     {map[string][]string{"traceparent": {"x"}}, "", false},
		"none at all":   {nil, "", false},
		"a key":         {map[string][]string{"Esignd-Seal-To": {key}}, key, false},
		"another case":  {map[string][]string{"esignd-seal-to": {key}}, key, false},
		"empty":         {map[string][]string{"Esignd-Seal-To": {""}}, "", true},
		"no value":      {map[string][]string{"Esignd-Seal-To": {}}, "", true},
		"two values":    {map[string][]string{"Esignd-Seal-To": {key, key}}, "", true},
		"two cases":     {map[string][]string{"Esignd-Seal-To": {key}, "esignd-seal-to": {key}}, "", true},
		"a user's key":  {map[string][]string{"Esignd-Seal-To": {userKey}}, "", true},
		"cut":           {map[string][]string{"Esignd-Seal-To": {key[:55]}}, "", true},
		"too long":      {map[string][]string{"Esignd-Seal-To": {key + "AAAAAAAA"}}, "", true},
		"lower case":    {map[string][]string{"Esignd-Seal-To": {strings.ToLower(key)}}, "", true},
		"mistyped":      {map[string][]string{"Esignd-Seal-To": {key[:20] + swapped(key[20]) + key[21:]}}, "", true},
		"a line's end":  {map[string][]string{"Esignd-Seal-To": {key + "\n"}}, "", true},
		"a private key": {map[string][]string{"Esignd-Seal-To": {"S" + key}}, "", true},
	} {
		got, err := wire.SealTo(c.header)
		var e *core.Error
		bad := errors.As(err, &e) && e.Code == core.InvalidRequest && e.Field == wire.HeaderSealTo &&
			strings.Contains(e.Description, wire.HeaderSealTo)
		if got != c.want || bad != c.bad || (err != nil) != c.bad {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func swapped(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func FuzzSealTo(f *testing.F) {
	daemon := newKey(f)
	f.Add(newKey(f).Public())
	f.Add("X")
	f.Add(strings.Repeat("A", 64))
	f.Fuzz(func(t *testing.T, key string) {
		to, err := wire.SealTo(map[string][]string{wire.HeaderSealTo: {key}})
		if err != nil {
			return
		}
		if _, err := daemon.Seal([]byte("body"), to); err != nil {
			t.Errorf("the key %q was taken, and cannot be sealed to: %v", key, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	daemon, caller := newKey(b), newKey(b)
	body := []byte(strings.Repeat("x", 700)) // about a token's answer
	sealed, err := daemon.Seal(body, caller.Public())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			newKey(b)
		}
	})
	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			if _, err := daemon.Seal(body, caller.Public()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := caller.Open(sealed, daemon.Public()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
