//go:build heavy

package cluster

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/esignd/esignd/tests/system"
)

// relay stands between a replica and its NATS server, and can hold back the connection of the records, both ways, while
// callers' requests go through.
type relay struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	conns   []net.Conn
	passing chan struct{} // closed while nothing is held back
}

// stateConnection is how the connection of the records names itself.
var stateConnection = []byte(`"name":"esignd-state"`)

func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{listener: system.Must(net.Listen("tcp", system.FreeAddress(t)))(t), target: target, passing: make(chan struct{})}
	close(r.passing)
	r.work.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// Address is where the replica connects.
func (r *relay) Address() string { return r.listener.Addr().String() }

// hold holds the connection of the records back. It may be called again.
func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.passing:
		r.passing = make(chan struct{})
	default:
	}
}

// pass lets through what was held back, and all that comes.
func (r *relay) pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.passing:
	default:
		close(r.passing)
	}
}

func (r *relay) close() {
	r.pass()
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.work.Wait()
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		if !r.keep(c, s) {
			return
		}
		l := &link{relay: r}
		r.work.Go(func() { l.copy(s, c, true) })
		r.work.Go(func() { l.copy(c, s, false) })
	}
}

// keep has close end the connections, and reports whether the relay is still open.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	r.conns = append(r.conns, conns...)
	return !r.closed
}

func (r *relay) open() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passing
}

// link is one connection through a relay.
type link struct {
	relay *relay
	mu    sync.Mutex // guards state
	state bool       // it is the connection of the records
}

// isState reports, and where seen has the connection's name learns, whether this is the connection of the records.
func (l *link) isState(seen []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = l.state || bytes.Contains(seen, stateConnection)
	return l.state
}

// copy carries what from sends until either end is closed.
func (l *link) copy(to, from net.Conn, outward bool) {
	defer func() { _ = errors.Join(to.Close(), from.Close()) }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			seen := buf[:0]
			if outward {
				seen = buf[:n]
			}
			if l.isState(seen) {
				<-l.relay.open()
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
