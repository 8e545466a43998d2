package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/tlsfiles/tlstest"
	"github.com/esignd/esignd/tests/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, files tlsfiles.Files, every time.Duration) (*tlsfiles.Source, *transcript.Transcript) {
	t.Helper()
	log := &transcript.Transcript{}
	s, err := tlsfiles.Open(tlsfiles.Config{Files: files, Setting: "x.tls", Every: every, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, log
}

func over(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
}

func early(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(time.Minute), time.Now().Add(time.Hour)
}

func spoil(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatWillNotDoAreToldWithTheirSetting(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*testing.T, *tlstest.Authority, tlsfiles.Files) tlsfiles.Files
		want  []string
		taken bool // by Open, which reports it
	}{
		"no certificate": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			f.Cert += ".none"
			return f
		}, []string{"x.tls.cert: there is no file ", ".none; put it there"}, false},
		"no key": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			f.Key = filepath.Dir(f.Key)
			return f
		}, []string{"x.tls.key: ", " is not a file"}, false},
		"half": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			f.Key = ""
			return f
		}, []string{"x.tls: cert and key go together"}, false},
		"another key": {func(t *testing.T, a *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			f.Key = a.Issue("other").Key
			return f
		}, []string{"x.tls.key: ", "other.key.pem is not the key of the certificate in ", "does not match"}, false},
		"no PEM": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			spoil(t, f.Cert, "hello", 0o600)
			return f
		}, []string{"x.tls.cert: ", "there is no certificate in it"}, false},
		"an authority that is none": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			spoil(t, f.CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600)
			return f
		}, []string{"x.tls.ca: ", "certificate 1 of the file cannot be read"}, false},
		"a key for all to write": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			if err := os.Chmod(f.Key, 0o602); err != nil {
				t.Fatal(err)
			}
			return f
		}, []string{"x.tls.key: every user of this machine can write", "chmod o-w"}, false},
		"too long": {func(t *testing.T, _ *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			spoil(t, f.Cert, strings.Repeat("x", 1<<20+1), 0o600)
			return f
		}, []string{"x.tls.cert: ", "longer than 1 MiB"}, false},
		"over": {func(t *testing.T, a *tlstest.Authority, _ tlsfiles.Files) tlsfiles.Files { return a.Issue("a", over) },
			[]string{"x.tls.cert: the certificate in ", "a.pem ended at 20", "put a new one there"}, true},
		"early": {func(t *testing.T, a *tlstest.Authority, _ tlsfiles.Files) tlsfiles.Files { return a.Issue("a", early) },
			[]string{"x.tls.cert: the certificate in ", "a.pem begins at 20", "the clock"}, true},
		"an authority that is over": {func(t *testing.T, a *tlstest.Authority, f tlsfiles.Files) tlsfiles.Files {
			f.CA = a.Issue("old", over).Cert
			return f
		}, []string{"x.tls.ca: the authority in ", "old.pem ended at 20"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := tlstest.New(t, t.TempDir(), "ours")
			f := c.spoil(t, a, a.Issue("a"))
			if _, err := tlsfiles.Check("x.tls", f); err == nil || !containsAll(err.Error(), c.want) {
				t.Errorf("Check: %v, want %q", err, c.want)
			}
			var log transcript.Transcript
			s, err := tlsfiles.Open(tlsfiles.Config{Files: f, Setting: "x.tls", Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil {
				defer s.Close()
			}
			if (err == nil) != c.taken || err != nil && !containsAll(err.Error(), c.want) || c.taken && !containsAll(log.String(), c.want) {
				t.Errorf("Open: %v, told %q", err, log.String())
			}
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

func TestFilesThatOthersReachAreWarnedOf(t *testing.T) {
	dir := t.TempDir()
	f := tlstest.New(t, dir, "ours").Issue("a")
	if w, err := tlsfiles.Check("x.tls", f); err != nil || len(w) != 0 {
		t.Errorf("nothing is wrong: %v, %v", w, err)
	}
	for path, mode := range map[string]os.FileMode{f.Key: 0o644, f.CA: 0o644, dir: 0o707} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	w, err := tlsfiles.Check("x.tls", f)
	all := strings.Join(w, "\n")
	if err != nil || !strings.Contains(all, "can read the key "+f.Key+" (mode 0644); run `chmod 600") || !strings.Contains(all, "can write in the folder "+dir) {
		t.Errorf("%v, %s", err, all)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if w, err := tlsfiles.Check("x.tls", f); err != nil || len(w) != 1 {
		t.Errorf("a folder with the sticky bit: %v, %v", w, err)
	}
}

// listener answers TLS connections with an echo until the test's end.
func listener(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// dial connects and speaks, and returns the connection with the name on the certificate that it was shown.
func dial(t *testing.T, address string, cfg *tls.Config) (*tls.Conn, string, error) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", address, cfg)
	if err != nil {
		return nil, "", err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName, echo(c)
}

func echo(c *tls.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestNewFilesAreSeenByNewConnections(t *testing.T) {
	a := tlstest.New(t, t.TempDir(), "ours")
	f := a.Issue("a")
	s, log := open(t, f, time.Millisecond)
	address := listener(t, s.Server(false))
	client := a.Client(tlsfiles.Files{})
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	before, name, err := dial(t, address, client)
	if err != nil || name != "a" {
		t.Fatalf("shown %q, %v", name, err)
	}
	shows := func(want string) func() bool {
		return func() bool {
			c, name, err := dial(t, address, client)
			if err != nil {
				t.Fatal(err)
			}
			if c.ConnectionState().DidResume {
				t.Error("a session was resumed")
			}
			return name == want
		}
	}
	next := a.Issue("b")
	replace := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	// One file after the other: in between the key is not the certificate's.
	replace(next.Cert, f.Cert)
	eventually(t, "it is told that the key is of another certificate", func() bool { return strings.Contains(log.String(), "does not match") })
	if !shows("a")() {
		t.Error("half of a change is shown")
	}
	replace(next.Key, f.Key)
	eventually(t, "the new certificate is shown", shows("b"))
	if err := echo(before); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	expired := a.Issue("c", over)
	replace(expired.Cert, f.Cert)
	replace(expired.Key, f.Key)
	eventually(t, "it is told that the certificate ended", func() bool { return strings.Contains(log.String(), "ended at") })
	if !shows("b")() {
		t.Error("a certificate whose time is over took the place of a good one")
	}
	good := a.Issue("d")
	replace(good.Cert, f.Cert)
	replace(good.Key, f.Key)
	eventually(t, "the next certificate is shown", shows("d"))
	if n := strings.Count(log.String(), "ended at"); n != 1 {
		t.Errorf("one mistake was told %d times", n)
	}
}

func TestListenerWithAuthoritiesAsksForCertificates(t *testing.T) {
	a := tlstest.New(t, t.TempDir(), "ours")
	other := tlstest.New(t, t.TempDir(), "others")
	f := a.Issue("a")
	s, _ := open(t, f, time.Hour)
	open, asks := listener(t, s.Server(false)), listener(t, s.Server(true))
	mine, theirs := a.Client(a.Issue("mine")), a.Client(other.Issue("theirs"))
	for name, c := range map[string]struct {
		address string
		cfg     *tls.Config
		in      bool
	}{
		"nobody, where none is asked for": {open, a.Client(tlsfiles.Files{}), true},
		"nobody":                          {asks, a.Client(tlsfiles.Files{}), false},
		"mine":                            {asks, mine, true},
		"theirs":                          {asks, theirs, false},
	} {
		if _, _, err := dial(t, c.address, c.cfg); (err == nil) != c.in {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		cfg := a.Client(tlsfiles.Files{})
		cfg.MinVersion, cfg.MaxVersion = version, version
		if _, _, err := dial(t, open, cfg); err == nil {
			t.Errorf("%s is spoken", tls.VersionName(version))
		}
	}
	// The other authority comes in beside, then takes its place.
	both, err := os.ReadFile(other.CA)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(a.CA)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, f.CA, string(own)+string(both), 0o600)
	s.Reload()
	for name, cfg := range map[string]*tls.Config{"mine": mine, "theirs": theirs} {
		if _, _, err := dial(t, asks, cfg); err != nil {
			t.Errorf("%s, with both authorities: %v", name, err)
		}
	}
	spoil(t, f.CA, string(both), 0o600)
	s.Reload()
	if _, _, err := dial(t, asks, mine); err == nil {
		t.Error("who has a certificate of the authority from before is let in")
	}
}

func TestClientReadsFilesForEachConnection(t *testing.T) {
	a := tlstest.New(t, t.TempDir(), "ours")
	s, _ := open(t, a.Issue("a"), time.Hour)
	first, err := s.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	a.Issue("a")
	second, err := s.Certificate()
	if err != nil || bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Errorf("the certificate of before was read, %v", err)
	}
	if roots, err := s.Roots(); err != nil || roots == nil || len(s.Client().Certificates) != 1 {
		t.Errorf("authorities %v, %v", roots, err)
	}
}

func TestCertificateThatIsAboutToEndIsWarnedOfOnce(t *testing.T) {
	a := tlstest.New(t, t.TempDir(), "ours")
	f := a.Issue("a", func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-95*time.Minute), time.Now().Add(5*time.Minute)
	})
	s, log := open(t, f, time.Hour)
	s.Reload()
	if n := strings.Count(log.String(), "renew it"); n != 1 {
		t.Errorf("told %d times: %s", n, log)
	}
	a.Issue("a")
	s.Reload()
	if n := strings.Count(log.String(), "renew it"); n != 1 || !strings.Contains(log.String(), "were read again") {
		t.Errorf("told %d times: %s", n, log)
	}
}
