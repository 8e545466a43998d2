package authserver

import (
	"bytes"
	"maps"
	"net/http"
)

// Fault is a wrong answer of the token endpoint.
type Fault struct {
	// Act lets the vendor do what was asked before the answer goes wrong: a code is spent, a token rotates.
	Act bool
	// Wait holds the request until the channel is closed or the caller has gone. With Act, the vendor has acted
	// before.
	Wait <-chan struct{}
	// Drop ends the connection without an answer. Without Drop and with Status 0, the proper answer is given in the
	// end, so that a Fault with only Wait is a slow vendor.
	Drop bool
	// Status, Header and Body are the answer given instead.
	Status int
	Header http.Header
	Body   string
}

// FailNext answers the next n requests to the token endpoint, one after the other, with the fault. It adds to what
// was asked for before.
func (s *Server) FailNext(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults = append(s.faults, f)
	}
}

func (s *Server) nextFault() (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}, false
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return f, true
}

// answer gives the wrong answer; proper gives the right one.
func (f Fault) answer(w http.ResponseWriter, r *http.Request, proper func(http.ResponseWriter)) {
	right := &keptAnswer{header: http.Header{}, status: http.StatusOK}
	if f.Act {
		proper(right)
	}
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	case f.Act:
		maps.Copy(w.Header(), right.header)
		w.WriteHeader(right.status)
		_, _ = w.Write(right.body.Bytes())
	default:
		proper(w)
	}
}

// keptAnswer is an answer that is not sent yet, or never.
type keptAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keptAnswer) Header() http.Header         { return k.header }
func (k *keptAnswer) WriteHeader(status int)      { k.status = status }
func (k *keptAnswer) Write(b []byte) (int, error) { return k.body.Write(b) }
