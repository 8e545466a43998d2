package bus

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// Quota bounds what one caller may ask of one replica. A request over it is told so, up to as many a second as the quota
// has; those beyond get no answer, so that a flood costs less than it does to send it.
//
// A caller is a service of nats.auth, or another NATS account; where NATS does not say who asks, it is the tenant. A
// bound of 0 is none.
type Quota struct {
	// PerSecond is how many requests it may make, on average; at once it may make as many.
	PerSecond int
	// Concurrent is how many of its requests may be worked on at once, counted as ServiceConfig.Pending does. What is
	// answered from memory does not count.
	Concurrent int
}

// Defaults of a Quota, in the daemon.
const (
	DefaultPerSecond  = 10_000
	DefaultConcurrent = 2_500
)

// maxQuotaCallers is how many callers are told apart. Beyond them those that are new share one quota, until some are idle.
const maxQuotaCallers = 4096

// errQuota is the answer to a request over the quota.
func errQuota() *core.Error {
	return &core.Error{Code: core.TemporarilyUnavailable, Reason: core.ReasonQuota, RetryAfter: time.Second,
		Description: "this caller asks for more than its quota; ask again, and less often"}
}

// quotas tells callers apart. A nil quotas has no bounds.
type quotas struct {
	quota  Quota
	header nats.Header // of the answer over the quota, which is made once: a flood is to cost little
	body   []byte

	mu    sync.Mutex // guards what follows
	known map[quotaCaller]*quotaUse
	rest  *quotaUse // of those for whom there is no place in known
	swept time.Time
}

// quotaCaller tells callers apart: an account of NATS, or a tenant where there is none.
type quotaCaller struct{ account, tenant string }

// quotaUse is what one caller uses.
type quotaUse struct {
	owner   *quotas
	rate    *rate.Limiter
	told    *rate.Limiter // of answers that say no
	working int64         // guarded by owner.mu
}

func newQuotas(q Quota) *quotas {
	if q == (Quota{}) {
		return nil
	}
	qs := &quotas{quota: q, known: map[quotaCaller]*quotaUse{}, header: nats.Header{}}
	headers, body := wire.EncodeError(errQuota())
	for name, value := range headers {
		qs.header.Set(name, value)
	}
	qs.body, qs.rest = body, qs.fresh()
	return qs
}

func (q *quotas) fresh() *quotaUse {
	limit, burst := rate.Inf, 0
	if q.quota.PerSecond > 0 {
		limit, burst = rate.Limit(q.quota.PerSecond), q.quota.PerSecond
	}
	return &quotaUse{owner: q, rate: rate.NewLimiter(limit, burst), told: rate.NewLimiter(limit, burst)}
}

// of returns what a caller uses, nil where there are no bounds.
func (q *quotas) of(id Identity) *quotaUse {
	if q == nil {
		return nil
	}
	key := quotaCaller{account: id.Account}
	if id.Account == "" {
		key.tenant = id.Tenant
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if use := q.known[key]; use != nil {
		return use
	}
	if len(q.known) >= maxQuotaCallers && !q.sweep() {
		return q.rest
	}
	use := q.fresh()
	q.known[key] = use
	return use
}

// sweep forgets callers that use nothing of their quota, at most once a second, and reports whether there is a place. mu
// is held.
func (q *quotas) sweep() bool {
	now := time.Now()
	if now.Sub(q.swept) < time.Second {
		return false
	}
	q.swept = now
	for key, use := range q.known {
		if use.working == 0 && (use.rate.Limit() == rate.Inf || use.rate.TokensAt(now) >= float64(use.rate.Burst())) {
			delete(q.known, key)
		}
	}
	return len(q.known) < maxQuotaCallers
}

// ask counts a request that comes now, and reports false where it is one too many.
func (u *quotaUse) ask(now time.Time) bool { return u == nil || u.rate.AllowN(now, 1) }

// enter counts a request as being worked on, and reports false where there are too many; leave ends that.
func (u *quotaUse) enter(weight int64) bool {
	if u == nil || u.owner.quota.Concurrent == 0 {
		return true
	}
	u.owner.mu.Lock()
	defer u.owner.mu.Unlock()
	// One alone is let in, however much it counts.
	if u.working > 0 && u.working+weight > int64(u.owner.quota.Concurrent) {
		return false
	}
	u.working += weight
	return true
}

func (u *quotaUse) leave(weight int64) {
	if u == nil || u.owner.quota.Concurrent == 0 {
		return
	}
	u.owner.mu.Lock()
	defer u.owner.mu.Unlock()
	u.working -= weight
}

// overQuota answers a request that is one too many for its caller, in the clear: sealing would be work.
func (s *Service) overQuota(conn *nats.Conn, e *endpoint, caller *quotaUse, reply string) {
	e.count.overQuota.Add(1)
	if !caller.told.Allow() {
		return
	}
	e.count.failed(core.TemporarilyUnavailable)
	if err := conn.PublishMsg(&nats.Msg{Subject: reply, Header: s.quotas.header, Data: s.quotas.body}); err != nil {
		e.count.unsent.Add(1)
		return
	}
	e.count.answered.Add(1)
}
