package faultproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// Canary is in whatever a vendor says in one of [Faults].
const Canary = "canary-8e1f47c0-vendor-text"

// Fault is one way in which a token request goes wrong. A Fault of your own has a Name and Respond.
type Fault struct {
	Name string
	// Respond answers the request in the vendor's place. It owns the connection, which is closed when it returns, and
	// it returns soon after x.Gone says so.
	Respond func(x *Exchange)
	way     way
}

// way is what a fault does to the connection, before there is a request to answer.
type way int

const (
	answered  way = iota // the request is answered by Respond
	refused              // nobody listens
	untrusted            // https, with a certificate that nobody trusts
	garbled              // https, with something else than TLS behind it
)

// Exchange is a token request that goes wrong.
type Exchange struct {
	Conn    net.Conn // from which the request has been read
	Request *http.Request
	Body    []byte // the request's
	// Elsewhere is the URL of another host, for redirects.
	Elsewhere string
	proxy     *Proxy
}

// Answer is an answer, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Forward lets the sandbox act and returns what it answers.
func (x *Exchange) Forward() (Answer, error) { return x.proxy.forward(x.Request, x.Body) }

// Send writes a whole answer. Its reason phrase and one of its headers have the canary. The error is that of the
// connection.
func (x *Exchange) Send(a Answer) error {
	if _, err := io.WriteString(x.Conn, head(a, fmt.Sprintf("Content-Length: %d\r\n", len(a.Body)))); err != nil {
		return err
	}
	_, err := x.Conn.Write(a.Body)
	return err
}

// head is an answer up to its body; framing says how the body is delimited.
func head(a Answer, framing string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.Status, Canary)
	header := maps.Clone(a.Header)
	header.Del("Content-Length")
	header.Del("Transfer-Encoding")
	_ = header.Write(&b) // a strings.Builder takes everything
	fmt.Fprintf(&b, "X-Request-Id: %s\r\nConnection: close\r\n%s\r\n", Canary, framing)
	return b.String()
}

// Drip writes data one byte after the other, with the proxy's pace in between, and reports whether all of it went
// out.
func (x *Exchange) Drip(data []byte) bool {
	gone := x.Gone()
	tick := time.NewTicker(x.proxy.pace)
	defer tick.Stop()
	for i := range data {
		if _, err := x.Conn.Write(data[i : i+1]); err != nil {
			return false
		}
		select {
		case <-tick.C:
		case <-gone:
			return false
		}
	}
	return true
}

// Gone returns a channel that is closed when the caller has closed the connection, or the proxy is being closed. It
// reads from the connection; call it once.
func (x *Exchange) Gone() <-chan struct{} {
	gone := make(chan struct{})
	// Ends with the connection, which is closed when the fault returns or the proxy is closed.
	x.proxy.handlers.Go(func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, x.Conn)
	})
	return gone
}

// Reset ends the connection with a RST.
func (x *Exchange) Reset() {
	if tcp, ok := x.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = x.Conn.Close()
}

// Says returns a fault that answers with this status and body, and does not let the sandbox act. The content type is
// that of JSON unless the header has another.
func Says(name string, status int, header http.Header, body string) Fault {
	return Fault{Name: name, Respond: func(x *Exchange) {
		_ = x.Send(says(status, header, body)) // the caller may have gone
	}}
}

func says(status int, header http.Header, body string) Answer {
	h := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(h, header)
	return Answer{Status: status, Header: h, Body: []byte(body)}
}

// Changes returns a fault that lets the sandbox act and answers with its answer as change leaves it.
func Changes(name string, change func(*Answer)) Fault {
	return Fault{Name: name, Respond: func(x *Exchange) {
		a, err := x.Forward()
		if err != nil {
			return
		}
		change(&a)
		_ = x.Send(a) // the caller may have gone
	}}
}

// SetsMembers returns a fault that lets the sandbox act and replaces members of its JSON answer; nil removes one.
func SetsMembers(name string, members map[string]any) Fault {
	return Changes(name, func(a *Answer) {
		var object map[string]any
		d := json.NewDecoder(bytes.NewReader(a.Body))
		d.UseNumber()
		if d.Decode(&object) != nil || object == nil {
			return
		}
		maps.Copy(object, members)
		maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
		object["note"] = Canary
		if body, err := json.Marshal(object); err == nil {
			a.Body = body
		}
	})
}

// Acts returns f with the sandbox having acted before f answers: a code is spent, a refresh token rotates. It is for
// faults that do not let it act themselves.
func (f Fault) Acts() Fault {
	respond := f.Respond
	f.Name += ", acted"
	f.Respond = func(x *Exchange) {
		if _, err := x.Forward(); err == nil {
			respond(x)
		}
	}
	return f
}
