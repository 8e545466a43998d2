package bus

import (
	"sync"
	"sync/atomic"

	"github.com/esignd/esignd/core"
)

// counters count what became of an endpoint's requests.
type counters struct {
	answered   atomic.Uint64 // errors included
	cached     atomic.Uint64 // answered from memory
	noReply    atomic.Uint64 // dropped: they named no reply subject
	badReply   atomic.Uint64 // dropped: their reply subject is no inbox
	overloaded atomic.Uint64 // refused: too many were being worked on
	overQuota  atomic.Uint64 // refused: too many of this caller
	unsent     atomic.Uint64 // the answer could not be sent
	pending    atomic.Int64  // being worked on

	mu     sync.Mutex
	errors map[core.Code]uint64 // guarded by mu
}

func (c *counters) failed(code core.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = make(map[core.Code]uint64)
	}
	c.errors[code]++
}

// EndpointStats is the data of an endpoint in the answer to $SRV.STATS.
type EndpointStats struct {
	// Answered counts all answers, Cached those from memory, Errors those that were errors, by code.
	Answered uint64               `json:"answered"`
	Cached   uint64               `json:"cached"`
	Errors   map[core.Code]uint64 `json:"errors"`
	// NoReply and BadReply count what was dropped: requests without a reply subject, or with one that is no inbox.
	NoReply  uint64 `json:"no_reply"`
	BadReply uint64 `json:"bad_reply"`
	// Overloaded counts requests that were refused because too many were being worked on.
	Overloaded uint64 `json:"overloaded"`
	// OverQuota counts requests that were refused because their caller asked for too much.
	OverQuota uint64 `json:"over_quota"`
	// Unsent counts answers that could not be sent.
	Unsent uint64 `json:"unsent"`
	// Pending is how many are being worked on.
	Pending int64 `json:"pending"`
}

func (c *counters) snapshot() EndpointStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := EndpointStats{
		Answered: c.answered.Load(), Cached: c.cached.Load(), Errors: make(map[core.Code]uint64, len(c.errors)),
		NoReply: c.noReply.Load(), BadReply: c.badReply.Load(), Overloaded: c.overloaded.Load(), OverQuota: c.overQuota.Load(),
		Unsent: c.unsent.Load(), Pending: c.pending.Load(),
	}
	for code, n := range c.errors {
		s.Errors[code] = n
	}
	return s
}
