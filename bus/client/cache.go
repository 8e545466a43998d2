package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

const (
	// keptTokens is how many grants' tokens a Cached Client keeps.
	keptTokens = 4096
	// keptFor is how long after its answer a token is handed out without asking again. It bounds what no event tells in time:
	// a revocation whose vendor cannot be reached, an event that a crash delays, a connection that died without a word.
	keptFor = 10 * time.Second
	// defaultMinTTL is at least what the daemon makes of no min_ttl.
	defaultMinTTL = time.Minute
	// listenWait is how long the server may take to show that it lets us hear.
	listenWait = 5 * time.Second
	// waitingEvents is how many events wait for the cache. What comes beyond them is lost, and with it all that is kept.
	waitingEvents = 4096
)

// Cached returns a Client that is as c and keeps tokens in memory, and what ends that: the connection stays open, and
// the Client asks each time from then on. ctx bounds the start.
//
// A token is handed out again while the connection is up and the tenant's events are heard, for ten seconds after the
// daemon answered it, where it lives for its MinTTL still, and for a minute where none is given. An event of its grant, or of
// its client or vendor, drops it, and so does what this Client does to it: Refresh, Report, Revoke, Forget. All are dropped
// when the connection was lost, or events were. An answer that is older than an event is not kept. Nor is one
// with warnings, which would grow old.
//
// Those who ask for the same token at the same time wait for one request. What is handed out from memory makes no span, and
// no entry in the daemon's audit.
func (c *Client) Cached(ctx context.Context) (*Client, func(), error) {
	k := &cache{
		conn: c.conn, subject: wire.TenantEvents(c.prefix, c.tenant, ">"), tenant: c.tenant, status: c.conn.StatusChanged(),
		slots: map[string]*slot{}, named: map[account]*slot{}, flights: map[flightKey]*flight{}, least: newGenerations(remembered),
		seen: newRecent(remembered),
	}
	messages := make(chan *nats.Msg, waitingEvents)
	sub, err := c.conn.ChanSubscribe(k.subject, messages)
	if err != nil {
		c.conn.RemoveStatusListener(k.status)
		return nil, nil, fmt.Errorf("keep tokens of tenant %s: %w", c.tenant, err)
	}
	k.sub, k.ended = sub, make(chan struct{})
	k.task.Go(func() { k.run(messages) })
	if err := k.listen(ctx); err != nil {
		k.close()
		return nil, nil, fmt.Errorf("keep tokens of tenant %s: %w", c.tenant, err)
	}
	out := *c
	out.cache = k
	return &out, sync.OnceFunc(k.close), nil
}

// run hears, until close.
func (k *cache) run(messages <-chan *nats.Msg) {
	dropped := 0
	for {
		select {
		case <-k.ended:
			return
		case <-k.status:
			k.lose()
		case m := <-messages:
			if n, err := k.sub.Dropped(); err != nil || n != dropped {
				dropped = n
				k.lose()
			}
			if e, err := wire.DecodeEvent(m.Data); err == nil {
				k.hear(e)
			}
		}
	}
}

// cache keeps the tokens of a Cached Client.
type cache struct {
	conn    *nats.Conn
	sub     *nats.Subscription
	subject string
	tenant  string
	status  chan nats.Status
	ended   chan struct{}
	task    sync.WaitGroup // what hears, until ended is closed

	mu      sync.RWMutex // guards what follows
	closed  bool
	losses  uint64                // how often events may have been missed
	allowed bool                  // since the last loss the server was seen to let us hear
	slots   map[string]*slot      // by the grant's id
	named   map[account]*slot     // some of them
	flights map[flightKey]*flight // that can be joined
	least   generations
	seen    recent // events
}

// slot is where the token of a grant is kept.
type slot struct {
	grant   string
	account account    // zero where no selector named the grant so
	kept    *keptToken // nil: none is
}

// account is how a selector names a grant without its id.
type account struct{ client, account string }

// keptToken is a token as it was answered. It does not change.
type keptToken struct {
	token  Token
	asked  time.Time
	byWall int64 // the same by the wall clock alone, in nanoseconds
}

// serves reports whether the token may be handed out to one who wants it to live for minTTL, and for how long it does. Time
// counts by the clock that saw more of it pass: the monotonic one stands still while the machine sleeps, the other can be set.
func (t *keptToken) serves(minTTL time.Duration) (left time.Duration, ok bool) {
	now := time.Now()
	age := max(now.Sub(t.asked), time.Duration(now.UnixNano()-t.byWall))
	left = t.token.ExpiresIn - age
	return left, age <= keptFor && left >= minTTL
}

// listen sees that the server does not refuse the subscription.
func (k *cache) listen(ctx context.Context) error {
	k.mu.RLock()
	allowed, losses := k.allowed, k.losses
	k.mu.RUnlock()
	if allowed {
		return nil
	}
	if !k.conn.IsConnected() {
		return nats.ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(ctx, listenWait)
	defer cancel()
	if err := k.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := k.conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+k.subject+`"`) {
		return core.Errorf(AccessDenied, "NATS does not let this service hear %s: %w", k.subject, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.allowed = losses == k.losses
	return nil
}

// take returns a token that is kept and lives for minTTL, and for how long, or the id of the grant, empty where sel is
// not one selector.
func (k *cache) take(sel Selector, minTTL time.Duration) (kept *keptToken, left time.Duration, grant string) {
	by := account{sel.Client, sel.Account}
	var s *slot
	k.mu.RLock()
	if sel.Grant == "" {
		s = k.named[by]
	} else if by == (account{}) {
		s = k.slots[sel.Grant]
	}
	if s != nil {
		kept = s.kept
	}
	k.mu.RUnlock()
	switch {
	case s == nil:
		return nil, 0, k.open(sel)
	case kept == nil:
		return nil, 0, s.grant
	}
	left, ok := kept.serves(minTTL)
	if !ok {
		return nil, 0, s.grant
	}
	return kept, left, ""
}

// open makes a slot for the grant that sel names, where there is none, and returns the grant's id.
func (k *cache) open(sel Selector) string {
	by, grant := account{sel.Client, sel.Account}, sel.Grant
	switch {
	case grant == "":
		grant = core.GrantID(k.tenant, sel.Client, sel.Account)
	case by != account{}:
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.slots[grant]
	if s == nil && !k.closed {
		k.makeRoom()
		s = &slot{grant: grant}
		k.slots[grant] = s
	}
	if s != nil && sel.Grant == "" {
		s.account = by
		k.named[by] = s
	}
	return grant
}

// makeRoom removes any one slot where there are enough.
func (k *cache) makeRoom() {
	for grant, s := range k.slots {
		if len(k.slots) < keptTokens {
			return
		}
		delete(k.slots, grant)
		delete(k.named, s.account)
	}
}

// keep keeps the answer of a flight, unless it may be old by now.
func (k *cache) keep(f *flight, t Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.slots[f.grant]
	switch {
	case s == nil, f.spoiled, !k.allowed, f.losses != k.losses, t.Grant != f.grant, len(t.Warnings) > 0:
		return
	case k.least.above(f.grant, t.Generation, f.began), s.kept != nil && s.kept.token.Generation > t.Generation:
		return
	}
	s.kept = &keptToken{token: t, asked: f.asked, byWall: f.asked.UnixNano()}
}

// hear drops what an event makes old, once.
func (k *cache) hear(e Event) {
	switch {
	case e.Tenant != k.tenant, k.knows(e.ID):
	case e.Grant == "":
		k.dropClient(e.Client)
	case e.Type == TokenIssued:
		k.drop(e.Grant, e.Generation, false)
	case e.Type == TokenRevoked, e.Type == GrantReauthorizationRequired:
		k.drop(e.Grant, e.Generation+1, true)
	default:
		k.drop(e.Grant, e.Generation, true)
	}
}

// knows reports whether the event was heard before.
func (k *cache) knows(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen.has(id) {
		return true
	}
	k.seen.add(id)
	return false
}

// drop lets no token of the grant be handed out that is below a generation, nor, where all is set, any that was answered
// or asked for so far. Who asks from now on joins none who asked before.
func (k *cache) drop(grant string, least uint64, all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.least.raise(grant, least)
	if s := k.slots[grant]; s != nil && s.kept != nil && (all || s.kept.token.Generation < least) {
		s.kept = nil
	}
	for key, f := range k.flights {
		if f.grant == grant {
			f.spoiled = f.spoiled || all
			delete(k.flights, key)
		}
	}
}

// dropClient is drop for all grants of a client: what is answered from now on may come with other warnings.
func (k *cache) dropClient(client string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.slots {
		if s.kept != nil && s.kept.token.Client == client {
			s.kept = nil
		}
	}
}

// lose drops everything: events may have been missed.
func (k *cache) lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.slots)
	clear(k.named)
	clear(k.flights)
	k.losses++
	k.allowed = false
}

// close ends the hearing, and with it the keeping.
func (k *cache) close() {
	_ = k.sub.Unsubscribe() // the connection may be closed by now
	close(k.ended)
	k.task.Wait()
	k.conn.RemoveStatusListener(k.status)
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.lose()
}
