package bus

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go/micro"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// endpoint is one request of the contract: how it is read and who answers it.
type endpoint struct {
	name     wire.Endpoint
	template string // of its subjects, for spans
	// quick answers without I/O and without waiting, where it can, and appends the answer to b. nil: it never can.
	quick func(ctx context.Context, b []byte, tenant string, data []byte) (answer []byte, token *core.Token, ok bool)
	// space is for the answers of quick, and plain for the request that is answered so; used by take alone.
	space []byte
	plain request
	// read decodes a request of a tenant, and returns what answers it and what it names.
	read     func(tenant string, data []byte) (job, wire.Selector, error)
	count    counters
	measures measures
}

// job answers a request that was read.
type job func(context.Context) (any, error)

// table returns the endpoints.
func (s *Service) table() []*endpoint {
	m := s.cfg.Manager
	return []*endpoint{
		{name: wire.TokenGet, quick: newQuickTokens(m).answer, read: reader(func(ctx context.Context, tenant string, r wire.TokenGetRequest) (any, error) {
			return token(m.Token(ctx, r.Core(tenant), r.Duration()))
		})},
		{name: wire.TokenRefresh, read: reader(func(ctx context.Context, tenant string, r wire.Selector) (any, error) {
			return token(m.Refresh(ctx, r.Core(tenant)))
		})},
		{name: wire.TokenReport, read: reader(func(ctx context.Context, tenant string, r wire.TokenReportRequest) (any, error) {
			return token(m.Report(ctx, r.Core(tenant), r.Generation))
		})},
		{name: wire.TokenRevoke, read: reader(func(ctx context.Context, tenant string, r wire.TokenRevokeRequest) (any, error) {
			return grant(m.Revoke(ctx, r.Core(tenant), r.Reason))
		})},
		{name: wire.GrantAuthorize, read: reader(func(ctx context.Context, tenant string, r wire.AuthorizeRequest) (any, error) {
			a, err := m.Authorize(ctx, r.Core(tenant))
			return wire.AuthorizationOf(a), err
		})},
		{name: wire.GrantExchange, read: reader(func(ctx context.Context, tenant string, r wire.ExchangeRequest) (any, error) {
			return grant(m.Exchange(ctx, r.Core(tenant)))
		})},
		{name: wire.GrantImport, read: reader(func(ctx context.Context, tenant string, r wire.ImportRequest) (any, error) {
			return grant(m.Import(ctx, r.Core(tenant)))
		})},
		{name: wire.GrantGet, read: reader(func(ctx context.Context, tenant string, r wire.Selector) (any, error) {
			return grant(m.Grant(ctx, r.Core(tenant)))
		})},
		{name: wire.GrantForget, read: reader(func(ctx context.Context, tenant string, r wire.Selector) (any, error) {
			return grant(m.Forget(ctx, r.Core(tenant)))
		})},
		{name: wire.GrantList, read: reader(func(ctx context.Context, tenant string, r wire.ListRequest) (any, error) {
			return s.page(ctx, r.Core(tenant))
		})},
		{name: wire.AccountVerify, read: reader(func(ctx context.Context, tenant string, r wire.AccountRequest) (any, error) {
			found, err := m.VerifyAccount(ctx, r.Core(tenant))
			return wire.AccountOf(found), err
		})},
		{name: wire.AccountCreate, read: reader(func(ctx context.Context, tenant string, r wire.AccountRequest) (any, error) {
			created, err := m.CreateAccount(ctx, r.Core(tenant))
			return wire.CreatedAccountOf(created), err
		})},
	}
}

// reader makes the read of an endpoint whose request is an R.
func reader[R wire.Request](run func(ctx context.Context, tenant string, r R) (any, error)) func(string, []byte) (job, wire.Selector, error) {
	return func(tenant string, data []byte) (job, wire.Selector, error) {
		r, err := wire.Decode[R](data)
		if err != nil {
			return nil, wire.Selector{}, err
		}
		return func(ctx context.Context) (any, error) { return run(ctx, tenant, r) }, named(r), nil
	}
}

func token(t core.Token, err error) (any, error) { return wire.TokenOf(t), err }

func grant(g core.GrantInfo, err error) (any, error) { return wire.GrantOf(g), err }

// page lists grants, fewer than were asked for where the answer would be larger than the server takes.
func (s *Service) page(ctx context.Context, f core.GrantFilter) (any, error) {
	// Headers count as well.
	const margin = 4 << 10
	most := int(s.connection().MaxPayload()) - margin
	for {
		infos, cursor, err := s.cfg.Manager.Grants(ctx, f)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(wire.GrantPageOf(infos, cursor))
		if err != nil {
			return nil, err
		}
		if len(body) <= most || len(infos) <= 1 {
			return json.RawMessage(body), nil
		}
		f.Limit = len(infos) / 2
	}
}

// stats is what discovery tells of an endpoint beside what micro itself counts, which knows neither the errors nor the
// time of requests that are worked on concurrently.
func (s *Service) stats(e *micro.Endpoint) any {
	for _, own := range s.endpoints {
		if wire.APISubject(s.cfg.Prefix, "*", own.name) == e.Subject {
			return own.count.snapshot()
		}
	}
	return nil
}
