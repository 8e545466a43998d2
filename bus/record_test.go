package bus

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/esignd/esignd/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenKey = "grant.g_golden"

// goldenSealer reads the keyset of the golden record.
func goldenSealer(t testing.TB) *sealer {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeGolden(t *testing.T) {
	t.Helper()
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(h)
	if err != nil {
		t.Fatal(err)
	}
	r := core.Record{Public: []byte(`{"format": 1, "state": "active"}`), Secret: []byte("golden secret")}
	for name, content := range map[string][]byte{"keyset.json": b.Bytes(), "record.v1.json": mustEncode(t, s, goldenKey, r)} {
		if err := os.WriteFile(filepath.Join("testdata", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A later esignd reads what this one wrote.
func TestRecordOfFormat1IsRead(t *testing.T) {
	t.Parallel()
	if *update {
		writeGolden(t)
	}
	value, err := os.ReadFile(filepath.Join("testdata", "record.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	public, secret, err := goldenSealer(t).decode(goldenKey, value)
	if err != nil {
		t.Fatal(err)
	}
	if string(public) != `{"format": 1, "state": "active"}` || string(secret) != "golden secret" {
		t.Errorf("public %s, secret of %d bytes", public, len(secret))
	}
}

func TestEveryChangedByteOfARecordIsSeen(t *testing.T) {
	t.Parallel()
	value, err := os.ReadFile(filepath.Join("testdata", "record.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := goldenSealer(t)
	public, secret, err := s.decode(goldenKey, value)
	if err != nil {
		t.Fatal(err)
	}
	for i := range value {
		changed := bytes.Clone(value)
		changed[i] ^= 1
		p, sec, err := s.decode(goldenKey, changed)
		// Renaming "sealed" takes the secret away, which leaves nothing to authenticate.
		if err == nil && sec != nil && (!bytes.Equal(p, public) || !bytes.Equal(sec, secret)) {
			t.Errorf("byte %d changed, and the record opens as another", i)
		}
		if err != nil && !errors.Is(err, core.ErrDamaged) {
			t.Errorf("byte %d changed: %v, want ErrDamaged", i, err)
		}
	}
}

func TestSecretIsBoundToItsKey(t *testing.T) {
	t.Parallel()
	s := goldenSealer(t)
	value := mustEncode(t, s, "grant.a", core.Record{Public: []byte(`{}`), Secret: []byte("x")})
	if _, _, err := s.decode("grant.b", value); !errors.Is(err, core.ErrDamaged) {
		t.Errorf("a record under another key: %v, want ErrDamaged", err)
	}
}

func TestPublicPartThatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	s := goldenSealer(t)
	for _, public := range []string{"{", `{},"sealed":""`, `{}}`, "x"} {
		if _, err := s.encode("grant.a", []byte(public), nil); err == nil {
			t.Errorf("public part %q was taken", public)
		}
	}
}

func FuzzRecordDecode(f *testing.F) {
	value, err := os.ReadFile(filepath.Join("testdata", "record.v1.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{value, value[:20], nil, []byte(`{"v":1}`), []byte(`{"v":1,"sealed":"AQ=="}`), []byte(`{"v":-1}`)} {
		f.Add(seed)
	}
	s := goldenSealer(f)
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, _, err := s.decode(goldenKey, value); err != nil && !errors.Is(err, core.ErrDamaged) {
			t.Errorf("%v, want ErrDamaged", err)
		}
	})
}

func FuzzSpoolFile(f *testing.F) {
	f.Add([]byte(`{"v":1,"key":"grant.a","value":{"v":1}}`))
	f.Add([]byte(`{"v":1,"value":0}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := readSpoolFile(content)
		if err == nil && (file.Format < 1 || file.Format > recordFormat) {
			t.Errorf("format %d was read", file.Format)
		}
	})
}
