package tlsfiles

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxFile bounds a file, in bytes: the authorities of a system are about 200 KiB.
const maxFile = 1 << 20

// Files names PEM files. Where one is not named there is none.
type Files struct {
	// CA has the authorities that sign the certificates of whoever is at the other end.
	CA string
	// Cert has a certificate of ours, with those between it and its authority, and Key its key, without a password.
	Cert, Key string
}

// material is what files held at one time.
type material struct {
	files Files
	sum   [sha256.Size]byte // of all that was read
	cert  *tls.Certificate  // nil: none
	cas   []*x509.Certificate
	pool  *x509.CertPool // of cas; nil: none
}

// Check reads the files as a Source does, and sees that they are valid now. The error says which setting, below the one
// given, is wrong and what to do. The warnings are about who else on this machine may read or replace them.
func Check(setting string, files Files) (warnings []string, err error) {
	m, err := read(setting, files)
	if err != nil {
		return nil, err
	}
	return access(setting, files), m.current(setting, time.Now())
}

// access says who else may read or replace the files.
func access(setting string, files Files) []string {
	var warnings []string
	for _, path := range []string{files.CA, files.Cert, files.Key} {
		if folder := filepath.Dir(path); path != "" && replaceable(folder) {
			warnings = append(warnings, fmt.Sprintf("%s: every user of this machine can write in the folder %s, and so put another file in the place of %s; run `chmod o-w %s`",
				setting, folder, filepath.Base(path), folder))
		}
	}
	if mode := modeOf(files.Key); mode&0o004 != 0 {
		warnings = append(warnings, fmt.Sprintf("%s.key: every user of this machine can read the key %s (mode %04o); run `chmod 600 %s`",
			setting, files.Key, mode, files.Key))
	}
	return warnings
}

// replaceable reports whether every user can rename what is in a folder. In one with the sticky bit each can rename only
// what is its own.
func replaceable(folder string) bool {
	info, err := os.Stat(folder)
	return err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0
}

func modeOf(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// read reads all files. What it returns need not be valid at this time.
func read(setting string, files Files) (*material, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, fmt.Errorf("%s: cert and key go together; name both, or neither", setting)
	}
	m, sum := &material{files: files}, sha256.New()
	load := func(name, path string) ([]byte, error) {
		text, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", setting, name, err)
		}
		own := sha256.Sum256(text)
		_, _ = sum.Write(own[:]) // a hash takes all
		return text, nil
	}
	if files.CA != "" {
		text, err := load("ca", files.CA)
		if err != nil {
			return nil, err
		}
		if err := m.trust(text); err != nil {
			return nil, fmt.Errorf("%s.ca: %w", setting, err)
		}
	}
	if files.Cert != "" {
		cert, err := load("cert", files.Cert)
		if err != nil {
			return nil, err
		}
		key, err := load("key", files.Key)
		if err != nil {
			return nil, err
		}
		if err := m.show(setting, cert, key); err != nil {
			return nil, err
		}
	}
	sum.Sum(m.sum[:0])
	return m, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s; put it there, or name another", path)
	case err != nil:
		return nil, fmt.Errorf("%w; give it to the user that runs esignd", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file; name one in PEM form", path)
	case info.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("every user of this machine can write the file %s (mode %04o); run `chmod o-w %s`", path, info.Mode().Perm(), path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("the file %s is longer than 1 MiB; is it the right one?", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w; give it to the user that runs esignd", err)
	}
	return text, nil
}

// trust takes the authorities.
func (m *material) trust(text []byte) (err error) {
	if m.cas, err = certificates(text); err != nil {
		return fmt.Errorf("%s: %w", m.files.CA, err)
	}
	m.pool = x509.NewCertPool()
	for _, c := range m.cas {
		m.pool.AddCert(c)
	}
	return nil
}

// show takes the certificate of ours.
func (m *material) show(setting string, cert, key []byte) error {
	if _, err := certificates(cert); err != nil {
		return fmt.Errorf("%s.cert: %s: %w", setting, m.files.Cert, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// It says what it looked for, and shows nothing of the key.
		return fmt.Errorf("%s.key: %s is not the key of the certificate in %s, or not without a password: %w", setting, m.files.Key, m.files.Cert, err)
	}
	m.cert = &pair
	return nil
}

// certificates reads every certificate of a PEM file, of which there has to be one.
func certificates(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file cannot be read: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no certificate in it; it is to begin with -----BEGIN CERTIFICATE-----")
	}
	return list, nil
}

// current returns an error where what the files hold is not valid at a time.
func (m *material) current(setting string, now time.Time) error {
	if m.cert != nil {
		if err := valid(m.cert.Leaf, now); err != nil {
			return fmt.Errorf("%s.cert: the certificate in %s %w", setting, m.files.Cert, err)
		}
	}
	var last error
	for _, c := range m.cas {
		if last = valid(c, now); last == nil {
			return nil // one is enough: an old one may stand beside the new
		}
	}
	if last != nil {
		return fmt.Errorf("%s.ca: the authority in %s %w", setting, m.files.CA, last)
	}
	return nil
}

func valid(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("ended at %s; put a new one there", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("begins at %s; put another there, or set the clock of this machine", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// ending says that the certificate of ours is in the last tenth of its time: who renews it has not done so.
func (m *material) ending(setting string, now time.Time) string {
	if m.cert == nil {
		return ""
	}
	leaf := m.cert.Leaf
	if leaf.NotAfter.Sub(now) > leaf.NotAfter.Sub(leaf.NotBefore)/10 {
		return ""
	}
	return fmt.Sprintf("%s.cert: the certificate in %s ends at %s; renew it, and put it there", setting, m.files.Cert, leaf.NotAfter.UTC().Format(time.RFC3339))
}

// server returns the configuration of a listener.
func (m *material) server(clients bool) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	if m.cert != nil {
		cfg.Certificates = []tls.Certificate{*m.cert}
	}
	if clients && m.pool != nil {
		cfg.ClientCAs, cfg.ClientAuth = m.pool, tls.RequireAndVerifyClientCert
	}
	return cfg
}
