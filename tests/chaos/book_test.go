//go:build heavy && linux

package chaos

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esignd/esignd/bus/client"
)

// book is what callers were answered, and what became of it at the vendor.
type book struct {
	mu       sync.Mutex // guards what follows
	requests int
	errors   map[string]int
	// handed are the access tokens by grant and generation.
	handed map[string]map[uint64]string
	seen   map[string]bool // access tokens that were handed out
	dead   []string        // tokens that were handed out dead, in words
	late   int             // tokens that expired between the answer and the vendor
	ended  int             // tokens that ended with their grant, at about that time
	wrong  []string        // what must not be at all
}

func newBook() *book {
	return &book{errors: map[string]int{}, handed: map[string]map[uint64]string{}, seen: map[string]bool{}}
}

// failed notes an answer without a token.
func (b *book) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests++
	kind := "no answer"
	if e := (*client.Error)(nil); errors.As(err, &e) {
		kind = string(e.Code) + " " + e.Reason
		if e.Code == client.ServerError || e.Code == client.NotFound || e.Code == client.InvalidRequest || e.Code == client.InvalidClient {
			b.wrong = append(b.wrong, fmt.Sprintf("answered %s: %v", kind, err))
		}
	}
	b.errors[kind]++
}

// got notes a token: a generation has one.
func (b *book) got(tok client.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests++
	of := b.handed[tok.Grant]
	if of == nil {
		of = map[uint64]string{}
		b.handed[tok.Grant] = of
	}
	access := tok.AccessToken.Reveal()
	b.seen[access] = true
	if before, ok := of[tok.Generation]; ok && before != access {
		b.wrong = append(b.wrong, fmt.Sprintf("grant %s: two tokens of generation %d were handed out", tok.Grant, tok.Generation))
	}
	of[tok.Generation] = access
}

// hand is a token's way from esignd to the vendor.
type hand struct{ asked, received, called time.Time }

// refused notes that the vendor refused a token that was just handed out.
func (b *book) refused(d *door, tok client.Token, h hand) {
	expires, ended, known := d.life(tok.AccessToken.Reveal())
	b.mu.Lock()
	defer b.mu.Unlock()
	left := expires.Sub(h.received).Round(time.Millisecond)
	was := fmt.Sprintf("%s generation %d: refused by the vendor with %s of its life left as it was received, %s after the question, warnings %v",
		tok.Grant, tok.Generation, left, h.received.Sub(h.asked).Round(time.Millisecond), tok.Warnings)
	// An answer says how long the token lives on, at least a second: what takes longer than that to arrive may be dead.
	slow := h.received.Sub(h.asked) >= time.Second && h.asked.Before(expires)
	switch {
	case !known:
		b.wrong = append(b.wrong, was+"; it was never issued")
	case !ended.IsZero() && h.asked.Before(ended.Add(2*time.Second)):
		b.ended++
	case !ended.IsZero(), !h.received.Before(expires) && !slow:
		b.dead = append(b.dead, was)
	case !h.called.Before(expires):
		b.late++
	default:
		b.wrong = append(b.wrong, was)
	}
}
