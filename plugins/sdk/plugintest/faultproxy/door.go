package faultproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// door is a further listener of a proxy.
type door struct {
	url     string
	ln      net.Listener
	serving sync.WaitGroup
	server  *http.Server // nil: it serves connections itself
}

func openDoor(scheme string, server *http.Server, wrap func(net.Listener) net.Listener) (*door, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: listen: %w", err)
	}
	d := &door{url: scheme + "://" + ln.Addr().String(), ln: wrap(ln), server: server}
	if server != nil {
		server.ErrorLog = log.New(io.Discard, "", 0)    // failed handshakes are what the door is for
		d.serving.Go(func() { _ = server.Serve(d.ln) }) // ends when the server is closed
	}
	return d, nil
}

func (d *door) close() error {
	if d == nil {
		return nil
	}
	err := d.ln.Close()
	if d.server != nil {
		err = d.server.Close()
	}
	d.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func asIs(ln net.Listener) net.Listener { return ln }

// openElsewhere opens the host that redirects lead to. It answers with a token set, so that whoever follows has
// something to swallow.
func openElsewhere(p *Proxy) (*door, error) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		p.stats.Elsewhere++
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"`+Canary+`","token_type":"Bearer","expires_in":3600}`)
	})
	return openDoor("http", &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}, asIs)
}

// openUntrusted opens an https host with a certificate that nobody has signed.
func openUntrusted() (*door, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, Canary) })
	return openDoor("https", &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}, func(ln net.Listener) net.Listener {
		return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	})
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("faultproxy: make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: Canary},
		DNSNames:     []string{Canary + ".example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("faultproxy: make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// openGarbled opens a host that answers a TLS handshake with something else.
func openGarbled() (*door, error) {
	d, err := openDoor("https", nil, asIs)
	if err != nil {
		return nil, err
	}
	d.serving.Go(func() {
		for {
			conn, err := d.ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "220 "+Canary+" ESMTP\r\n")
			_ = conn.Close()
		}
	})
	return d, nil
}
