package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// origin is what a result came from.
type origin string

const (
	byRefresh           origin = "refresh"
	byClientCredentials origin = "client_credentials"
	byExchange          origin = "exchange"
	byImport            origin = "import"
	byCreation          origin = "creation"
)

// result is what came of a call to a vendor, to be committed.
type result struct {
	kind    origin
	grant   string
	attempt attempt // its ID is set for every kind; the rest for refreshes
	// consent and generation are what the call was made for.
	consent    string
	generation uint64
	presented  Secret // the refresh token that was sent
	rotated    bool   // the vendor gave another refresh token for it
	client     string
	apiBaseURL string // where it was sent
	// unsure says that what is known here of the grant may lack our own write: the store is read first.
	unsure bool
	sent   time.Time

	response        TokenResponse
	failure         *VendorError // nil: response counts
	rotates         bool
	defaultLifetime time.Duration
	idle            time.Duration

	// begun is when a new consent was, by the store's clock, and replayed says that its commit comes late.
	begun    time.Time
	replayed bool
	// ends is how often the grant had ended when a new consent was begun.
	ends uint64
	// blank is the grant that a new consent makes where there is none; consentLifetime its hard end.
	blank           *grant
	consentLifetime time.Duration
	// guard may refuse a new consent over what is there. nil: it never does.
	guard func(*grant) error
}

// fresh reports whether the result is a consent of its own rather than a refresh of one.
func (r result) fresh() bool {
	return r.kind == byExchange || r.kind == byImport || r.kind == byCreation
}

// verdict says what a result means for the grant as it is.
type verdict int

const (
	apply  verdict = iota // write it
	there                 // it is there already
	keep                  // a newer one of the same consent is there: keep that
	orphan                // the consent it belongs to is over: end it at the vendor
)

// judge compares a result with the grant as it stands.
func (r result) judge(g *grant) verdict {
	switch {
	case g.Settled == r.attempt.ID, r.fresh() && g.Consent == r.consent:
		return there
	case r.kind == byCreation && (g.State == Active || g.State == AwaitingConfirmation):
		return keep // a consent of the account's owner is worth more than tokens that await one
	case r.fresh() && (g.Ends != r.ends || r.replayed && g.ConsentedAt.After(r.begun)):
		return orphan
	case r.fresh():
		return apply
	case g.Attempt != nil && g.Attempt.ID == r.attempt.ID:
		return apply
	case r.failure != nil:
		return keep // the attempt was settled without us, and we bring nothing
	case g.Forgotten, g.State == Revoked, g.Consent != r.consent:
		return orphan
	case g.Generation > r.generation:
		return keep
	default:
		return apply // settled by another for dead, yet it brought a token set
	}
}

// commit ends an attempt by compare-and-set, whatever its outcome. It does not give up what a vendor gave: where the
// store cannot be written within commitWithin, the result goes to the spool and is replayed from there.
func (m *Manager) commit(ctx context.Context, r result) (*entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWithin)
	defer cancel()
	ctx, span := m.span(ctx, "commit", attribute.String("esignd.origin", string(r.kind)))
	defer span.End()
	e, err := m.commitNow(ctx, r)
	var refused *Error
	if err == nil || errors.As(err, &refused) {
		return e, fail(span, err)
	}
	if serr := m.keep(r); serr != nil {
		m.log.ErrorContext(ctx, "a token set could be written neither to the store nor to data_dir/uncommitted; esignd goes on trying while it runs",
			"grant", r.grant, "client", r.client, "error", serr)
	}
	return nil, fail(span, fmt.Errorf("commit %s of grant %s: %w", r.kind, r.grant, err))
}

// commitNow writes r until it is written, turns out to be written, or has no place any more.
func (m *Manager) commitNow(ctx context.Context, r result) (_ *entry, err error) {
	if r.failure == nil && !r.sent.IsZero() {
		m.cache.asked(r.grant, r.attempt.ID, r.sent)
		defer func() {
			var refused *Error
			if err == nil || errors.As(err, &refused) {
				m.cache.written(r.attempt.ID)
			}
		}()
	}
	e, err := m.current(ctx, r)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		if err == nil {
			done, written, werr := m.commitOver(ctx, r, e)
			if done {
				return written, werr
			}
			err = werr
		}
		if !errors.Is(err, ErrConflict) {
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(pause):
			}
		}
		e, err = m.readOrBlank(ctx, r)
	}
}

// commitOver writes r over e. done is false where it must be tried again over what is there by then.
func (m *Manager) commitOver(ctx context.Context, r result, e *entry) (done bool, written *entry, err error) {
	switch r.judge(e.g) {
	case there, keep:
		return true, e, nil
	case orphan:
		m.log.WarnContext(ctx, "a token set came for a consent that is over; it is ended at the vendor and dropped", "grant", r.grant,
			"client", e.g.Client, "vendor", e.g.Vendor)
		m.discard(ctx, e, r)
		return true, e, nil
	case apply:
	}
	if r.guard != nil {
		if err := r.guard(e.g); err != nil {
			if r.rotated { // the caller's refresh token is spent, and this one nobody will hold
				m.discard(ctx, e, r)
			}
			return true, e, err
		}
	}
	g := e.edit()
	if err := m.settleInto(ctx, e, g, r); err != nil {
		return true, e, err
	}
	written, err = m.write(ctx, g)
	if err == nil {
		m.metrics.committed(ctx, g, r)
	}
	if err == nil && e.g.RevocationOwed && r.failure == nil && !written.g.tokens.holds(e.g.tokens.Refresh) {
		m.endOvertaken(ctx, e.g)
	}
	return err == nil, written, err
}

// overtakeRevocation tells of a revocation that was not settled when new tokens came: the old ones are ended here.
func (m *Manager) overtakeRevocation(ctx context.Context, g *grant) {
	g.owe(m.revokedEvent(ctx, g, false))
	g.RevocationOwed, g.RevocationReason, g.ForgetOwed = false, "", false
}

// endOvertakenTries bounds how often the vendor is told of tokens that nothing remembers but this process.
const endOvertakenTries = 10

// endOvertaken tells the vendor of the old tokens, while this process lives: the record holds the new ones.
func (m *Manager) endOvertaken(ctx context.Context, old *grant) {
	ctx = context.WithoutCancel(ctx)
	m.tasks.Go(func() {
		for n := 1; n <= endOvertakenTries; n++ {
			how, v := m.revokeAtVendor(ctx, old)
			if how != revocationLater {
				return
			}
			select {
			case <-m.background.Done():
				n = endOvertakenTries
			case <-time.After(ruleFor(v).backoff(n, v.RetryAfter)):
			}
		}
		m.log.WarnContext(ctx, "tokens that were revoked could not be ended at the vendor; they stay valid there until they expire",
			"grant", old.ID, "client", old.Client, "vendor", old.Vendor)
	})
}

// current is the grant as last known here, which for a refresh is what its own claim wrote.
func (m *Manager) current(ctx context.Context, r result) (*entry, error) {
	if e := m.cache.get(r.grant); e != nil && !r.unsure {
		return e, nil
	}
	return m.readOrBlank(ctx, r)
}

func (m *Manager) readOrBlank(ctx context.Context, r result) (*entry, error) {
	e, err := m.read(ctx, r.grant)
	if errors.Is(err, ErrNoRecord) && r.blank != nil {
		g := r.blank.clone()
		g.revision = 0
		return &entry{g: g, seen: time.Now(), first: time.Now()}, nil
	}
	return e, err
}

// claimLeft is how long the claim on a grant may still be worked on; zero or less where it is dead. Clocks of other
// machines take no part: it is dead when this replica saw it unchanged for its duration, or when its owner's data
// folder is locked by this process.
func (m *Manager) claimLeft(e *entry) time.Duration {
	a := e.g.Attempt
	m.flightMu.Lock()
	_, waits := m.kept[a.ID]
	m.flightMu.Unlock()
	if waits {
		return time.Second // its outcome is known here and will be committed
	}
	if a.Owner != m.owner && ownerFolder(a.Owner) == m.folder {
		return 0
	}
	return a.Duration - time.Since(e.first)
}

// settle ends a dead claim. Whether its owner reached the vendor is not known.
func (m *Manager) settle(ctx context.Context, e *entry) (*entry, error) {
	g := e.edit()
	a := *g.Attempt
	r := result{kind: byRefresh, grant: g.ID, attempt: a, consent: g.Consent, generation: a.Generation,
		failure: &VendorError{Outcome: Unknown, Code: CodeTimeout, Detail: "the replica that was refreshing did not finish"}}
	cl := m.clientOf(g)
	switch {
	case cl == nil:
		r.rotates = true // nothing is known: assume the worse
	case cl.GrantType == ClientCredentials:
		r.kind = byClientCredentials
	default:
		_, md, err := m.adapterOf(ctx, cl)
		r.rotates = err != nil || m.rotates(g, cl, md)
	}
	if err := m.settleInto(ctx, e, g, r); err != nil {
		return nil, err
	}
	// Settled names outcomes that are in the record. This attempt's own is not: if its owner lives and brings a token
	// set, that is still to be written.
	g.Settled = e.g.Settled
	if g.State == Pending || !g.Uncertain {
		g.Failures.Next = m.now() // the crash was ours: the vendor need not be spared
	}
	written, err := m.write(ctx, g)
	if err != nil {
		return nil, err
	}
	m.metrics.lost(ctx, g)
	m.log.WarnContext(ctx, "a claim whose owner is gone was settled; the grant is refreshed anew, with its refresh token in doubt where uncertain",
		"grant", g.ID, "client", g.Client, "vendor", g.Vendor, "owner", a.Owner, "uncertain", g.Uncertain, "state", g.State, "next_attempt", g.Failures.Next)
	m.payOrLater(ctx, written)
	return written, nil
}

// ownerFolder is the part of a claim's owner that names its data folder.
func ownerFolder(owner string) string {
	folder, _, _ := strings.Cut(owner, "/")
	return folder
}
