// Package creds is the file by which a service proves to NATS who it is: an NKey's seed, with the tenant and the name
// under which esignd's configuration lists its public part.
//
// The file is one that NATS tools read too (nats --nkey FILE --inbox-prefix _INBOX_<tenant>_<service>). The key stays in
// it: a connection reads it when it proves itself, and the server gets a signature, never the key. What the file says of
// tenant and service gives the connection its inbox prefix and decides nothing: what a key may do is the server's to say.
package creds

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// Credentials are what a file tells, without its secret.
type Credentials struct {
	// Tenant and Service name the service. They are empty for esignd's own, and where the file does not tell.
	Tenant, Service string
	// NKey is the public part of the key. It is empty for a NATS credentials file (.creds), which holds a signed JWT.
	NKey string

	path string // of the file
}

// New makes a key and writes it to a new file at path, which its owner alone may read. tenant and service are empty for
// the key of esignd itself. A file that is there is left as it is: errors.Is(err, fs.ErrExist).
func New(path, tenant, service string) (_ Credentials, err error) {
	if own := tenant == "" && service == ""; !own && (!wire.ValidToken(tenant) || !wire.ValidToken(service)) {
		return Credentials{}, fmt.Errorf("tenant %q, service %q: letters, digits, _ and - are wanted", tenant, service)
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return Credentials{}, fmt.Errorf("make an NKey: %w", err)
	}
	defer pair.Wipe()
	c := Credentials{Tenant: tenant, Service: service, path: path}
	if c.NKey, err = pair.PublicKey(); err != nil {
		return Credentials{}, fmt.Errorf("make an NKey: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return Credentials{}, fmt.Errorf("make an NKey: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Credentials{}, fmt.Errorf("%w; a key is not written over", err)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("write the credentials: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(c.file(seed)); err != nil {
		return Credentials{}, fmt.Errorf("write the credentials: %w", err)
	}
	return c, f.Sync()
}

const (
	tenantLine  = "# tenant: "
	serviceLine = "# service: "
	keyLine     = "# nkey: "
)

func (c Credentials) file(seed []byte) []byte {
	var b bytes.Buffer
	if c.Service == "" {
		b.WriteString("# NATS credentials of esignd itself. Whoever has this file may be it.\n")
	} else {
		b.WriteString("# NATS credentials of a service that asks esignd. Whoever has this file may be it.\n")
		b.WriteString(tenantLine + c.Tenant + "\n" + serviceLine + c.Service + "\n")
	}
	b.WriteString(keyLine + c.NKey + "\n")
	b.WriteString("-----BEGIN USER NKEY SEED-----\n")
	b.Write(seed)
	b.WriteString("\n------END USER NKEY SEED------\n")
	return b.Bytes()
}

// Read reads a file that New wrote, any file with an NKey's seed, or a NATS credentials file. One that others may write
// is refused.
func Read(path string) (Credentials, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return Credentials{}, fmt.Errorf("others may write the credentials %s (mode %04o); run `chmod 600 %s`", path, mode, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	c := Credentials{path: path}
	if bytes.Contains(text, []byte("BEGIN NATS USER JWT")) {
		return c, nil
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s holds no NKey and no NATS credentials: %w", path, err)
	}
	defer pair.Wipe()
	if c.NKey, err = pair.PublicKey(); err != nil || !nkeys.IsValidPublicUserKey(c.NKey) {
		return Credentials{}, fmt.Errorf("the NKey in %s is not that of a user", path)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), tenantLine); ok && wire.ValidToken(v) {
			c.Tenant = v
		}
		if v, ok := strings.CutPrefix(lines.Text(), serviceLine); ok && wire.ValidToken(v) {
			c.Service = v
		}
	}
	return c, nil
}

// Options connect with these credentials. A service's answers come under its own inbox prefix.
func (c Credentials) Options() []nats.Option {
	if c.NKey == "" {
		return []nats.Option{nats.UserCredentials(c.path)}
	}
	opts := []nats.Option{nats.Nkey(c.NKey, c.sign)}
	if c.Tenant != "" && c.Service != "" {
		opts = append(opts, nats.CustomInboxPrefix(wire.InboxPrefix(c.Tenant, c.Service)))
	}
	return opts
}

// sign answers the server's challenge with the key in the file.
func (c Credentials) sign(nonce []byte) ([]byte, error) {
	pair, err := c.pair()
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}

// Seed returns the key itself, for what takes no signature in its place. A NATS credentials file is an error.
func (c Credentials) Seed() (core.Secret, error) {
	pair, err := c.pair()
	if err != nil {
		return core.Secret{}, err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return core.Secret{}, fmt.Errorf("read the NKey in %s: %w", c.path, err)
	}
	return core.NewSecret(string(seed)), nil
}

func (c Credentials) pair() (nkeys.KeyPair, error) {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return nil, fmt.Errorf("read the credentials: %w", err)
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s holds no NKey: %w", c.path, err)
	}
	return pair, nil
}

// Path returns where the file is.
func (c Credentials) Path() string { return c.path }
