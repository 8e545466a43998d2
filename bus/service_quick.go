package bus

import (
	"bytes"
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// Bounds of what is remembered of requests for tokens.
const (
	rememberedAsks   = 4096
	rememberedAsk    = 512     // bytes of a request
	rememberedAnswer = 4 << 10 // bytes of an answer
	// replaceOneOf is how many new requests come to one that takes the place of another where there is no more room.
	replaceOneOf = 8
)

// quickTokens answers token.get from memory. A program asks in the same bytes again and again: what they mean, and the
// answer but for the seconds left, is remembered. Whether there is a token to be handed out, and which, the Manager says
// each time. It is used by one goroutine.
type quickTokens struct {
	manager *core.Manager
	asks    map[string]*prior // by tenant and request
	key     []byte            // space to make a key of asks
	token   core.Token        // the last that was handed out
	strange uint64            // how many requests were not remembered
}

// prior is a request that came before.
type prior struct {
	selector core.Selector
	minTTL   time.Duration
	text     wire.TokenText
}

func newQuickTokens(m *core.Manager) *quickTokens {
	return &quickTokens{manager: m, asks: map[string]*prior{}}
}

// answer appends the answer to b where it can be given from memory. The token is what is in it, until the next answer.
func (q *quickTokens) answer(ctx context.Context, b []byte, tenant string, data []byte) (answer []byte, token *core.Token, ok bool) {
	q.key = append(append(append(q.key[:0], tenant...), 0), data...)
	known := q.asks[string(q.key)]
	a := known
	if a == nil {
		r, ok := wire.QuickTokenGet(data)
		if !ok {
			return b, nil, false
		}
		a = &prior{selector: byGrant(r.Core(tenant)), minTTL: r.Duration()}
	}
	if q.token, ok = q.manager.CachedToken(ctx, a.selector, a.minTTL); !ok {
		delete(q.asks, string(q.key))
		return b, nil, false
	}
	if known == nil && !q.room(len(data)) {
		return wire.AppendToken(b, &q.token), &q.token, true
	}
	b = a.text.AppendTo(b, &q.token)
	switch {
	case a.text.Size() > rememberedAnswer:
		delete(q.asks, string(q.key))
	case known == nil:
		q.asks[string(q.key)] = a
	}
	return b, &q.token, true
}

// byGrant names a grant by its id, which takes long to make.
func byGrant(sel core.Selector) core.Selector {
	if sel.Grant != "" {
		return sel
	}
	return core.Selector{Tenant: sel.Tenant, Grant: core.GrantID(sel.Tenant, sel.Client, sel.Account)}
}

// room reports whether a request is to be remembered, and makes room for it.
func (q *quickTokens) room(size int) bool {
	if size > rememberedAsk {
		return false
	}
	if len(q.asks) < rememberedAsks {
		return true
	}
	if q.strange++; q.strange%replaceOneOf != 0 {
		return false
	}
	for key := range q.asks { // any
		delete(q.asks, key)
		break
	}
	return true
}

// takeQuickly answers a request from memory, with no span, and reports whether it did.
func (s *Service) takeQuickly(conn *nats.Conn, e *endpoint, tenant string, m micro.Request, began time.Time) (done bool) {
	r := &e.plain
	*r = request{
		service: s, conn: conn, endpoint: e, tenant: tenant, reply: m.Reply(), asked: m.Headers(), span: trace.SpanFromContext(s.base), began: began,
	}
	defer func() {
		if v := recover(); v != nil {
			r.panicked(s.base, v)
			done = true
		}
	}()
	done, _ = r.quickly(s.base, m.Data())
	return done
}

// quickly answers from memory and reports whether it did. kept says that the answer is still to be sent.
func (r *request) quickly(ctx context.Context, data []byte) (done, kept bool) {
	var t *core.Token
	if r.space, t, done = r.quick(ctx, r.space[:0], r.tenant, data); !done {
		return false, false
	}
	r.count.cached.Add(1)
	r.cached = true
	if r.service.cfg.Audit != nil {
		return true, r.handOut(ctx, *t, bytes.Clone(r.space))
	}
	r.send(ctx, nil, r.space) // nats.go copies it
	return true, false
}
