package creds_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/creds"
)

func TestReadTellsWhatNewWrote(t *testing.T) {
	for _, c := range []struct{ tenant, service, inbox string }{{"acme", "billing", "_INBOX_acme_billing"}, {"", "", ""}} {
		path := filepath.Join(t.TempDir(), "key")
		made, err := creds.New(path, c.tenant, c.service)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v, %v", info.Mode(), err)
		}
		read, err := creds.Read(path)
		if err != nil || read != made || read.Tenant != c.tenant || read.Service != c.service {
			t.Errorf("read %+v, %v; made %+v", read, err, made)
		}
		var opts nats.Options
		for _, o := range read.Options() {
			if err := o(&opts); err != nil {
				t.Fatal(err)
			}
		}
		if opts.Nkey != made.NKey || opts.InboxPrefix != c.inbox {
			t.Errorf("key %s, inboxes %q", opts.Nkey, opts.InboxPrefix)
		}
		signature, err := opts.SignatureCB([]byte("nonce"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := nkeys.FromPublicKey(made.NKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Verify([]byte("nonce"), signature); err != nil {
			t.Error(err)
		}
	}
}

func TestNewWritesOverNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := creds.New(path, "acme", "billing"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if _, err := creds.New(path+"2", "acme", ""); err == nil {
		t.Error("a tenant without a service was taken")
	}
}

func TestReadRefusesWhatItCannotTrust(t *testing.T) {
	dir := t.TempDir()
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, want string
		mode       os.FileMode
	}{
		"open":    {"x", "chmod 600", 0o622},
		"empty":   {"", "holds no NKey", 0o600},
		"account": {string(seed), "not that of a user", 0o600},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := creds.Read(path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), string(seed)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := creds.Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	jwt := filepath.Join(dir, "jwt")
	if err := os.WriteFile(jwt, []byte("-----BEGIN NATS USER JWT-----\ne\n------END NATS USER JWT------\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := creds.Read(jwt); err != nil || c.NKey != "" || len(c.Options()) != 1 {
		t.Errorf("a NATS credentials file: %+v, %v", c, err)
	}
}
