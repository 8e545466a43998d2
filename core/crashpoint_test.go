package core_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// alice is the account of the grant that crashes are survived with.
var alice = core.Selector{Tenant: tenant, Client: main, Account: "alice@example.com"}

// takeOver imports a consent of Alice's that was given elsewhere.
func (r *replica) takeOver(ctx context.Context) error {
	_, err := r.m.Import(ctx, core.ImportRequest{Tenant: tenant, Client: main, Account: alice.Account, RefreshToken: r.fleet.vendor.seed(), Replace: true})
	return err
}

// connect has Alice consent, and trades the code that comes of it.
func (r *replica) connect(ctx context.Context, code string) error {
	a, err := r.m.Authorize(ctx, core.AuthorizeRequest{Tenant: tenant, Client: main, Account: alice.Account, RedirectURI: "https://svc.example/cb"})
	if err != nil {
		return err
	}
	_, err = r.m.Exchange(ctx, core.ExchangeRequest{Tenant: tenant, Params: url.Values{"state": {a.State}, "code": {code}}})
	return err
}

// crashActs is what a replica is doing when it crashes.
var crashActs = map[string]func(*replica) error{
	"refresh": func(r *replica) error { _, err := r.m.Refresh(context.Background(), alice); return err },
	"revoke":  func(r *replica) error { _, err := r.m.Revoke(context.Background(), alice, ""); return err },
	"forget":  func(r *replica) error { _, err := r.m.Forget(context.Background(), alice); return err },
	"import":  func(r *replica) error { return r.takeOver(context.Background()) },
	"connect": func(r *replica) error { return r.connect(context.Background(), "code") },
	// The same, of a grant that has no record yet.
	"first connect": func(r *replica) error { return r.connect(context.Background(), "code") },
	// A refresh whose outcome cannot be written to the store, and goes to the disk.
	"unwritten refresh": func(r *replica) error { _, err := r.m.Refresh(context.Background(), alice); return err },
}

// crashEnd is how it must end, when the first access token has ended.
type crashEnd struct {
	state               core.State
	generation          uint64
	calls, codes, tells int // refreshes after the first, exchanges, revocations that were sent
	events              string
}

// The ends. Each grant begins with an import, which is one refresh and one event.
var (
	untouched  = crashEnd{core.Active, 2, 1, 0, 0, "token.expiring, token.issued refreshed"}
	refreshed  = crashEnd{core.Active, 2, 1, 0, 0, "token.issued refreshed, token.expiring"}
	notSent    = crashEnd{core.Active, 2, 1, 0, 0, "token.refresh_failed network, token.expiring, token.issued refreshed"}
	takenBack  = crashEnd{core.Active, 2, 1, 0, 0, "token.refresh_failed internal, token.expiring, token.issued refreshed"}
	onceMore   = crashEnd{core.Active, 2, 2, 0, 0, "token.refresh_failed timeout, token.expiring, token.issued refreshed"}
	notCalled  = crashEnd{core.Active, 2, 1, 0, 0, "token.refresh_failed timeout, token.expiring, token.issued refreshed"}
	dead       = crashEnd{core.NeedsReauthorization, 1, 2, 0, 0, "token.refresh_failed timeout, token.expiring, grant.reauthorization_required outcome_unknown"}
	revoked    = crashEnd{core.Revoked, 1, 0, 0, 1, "token.revoked"}
	toldTwice  = crashEnd{core.Revoked, 1, 0, 0, 2, "token.revoked"}
	gone       = crashEnd{"", 1, 0, 0, 1, "token.revoked forgotten"}
	goneTwice  = crashEnd{"", 1, 0, 0, 2, "token.revoked forgotten"}
	imported   = crashEnd{core.Active, 2, 1, 0, 0, "token.issued imported, token.expiring"}
	dropped    = crashEnd{core.Active, 2, 2, 0, 0, "token.expiring, token.issued refreshed"}
	connected  = crashEnd{core.Active, 2, 0, 1, 0, "token.issued authorized, token.expiring"}
	codeSpent  = crashEnd{core.Active, 2, 1, 1, 0, "token.expiring, token.issued refreshed"}
	codeFailed = crashEnd{core.Active, 2, 1, 1, 0, "grant.authorization_failed timeout, token.expiring, token.issued refreshed"}
	unborn     = crashEnd{"", 0, 0, 0, 0, ""}
	pending    = crashEnd{core.Pending, 0, 0, 0, 0, ""}
	spentFirst = crashEnd{core.Pending, 0, 0, 1, 0, ""}
	lostFirst  = crashEnd{core.Pending, 0, 0, 1, 0, "grant.authorization_failed timeout"}
	first      = crashEnd{core.Active, 1, 0, 1, 0, "token.issued authorized, token.expiring"}
	codeUnsent = crashEnd{core.Active, 2, 1, 0, 0, "grant.authorization_failed network, token.expiring, token.issued refreshed"}
)

// crashPoints is every point at which a process can die, or a write be refused (fail before it) or its acknowledgement
// be lost (fail after it), with what comes of it where the vendor rotates refresh tokens and where it does not.
var crashPoints = []struct {
	act     string
	kind    kind
	places  string // a number after a place: reached for that time; "in a": the process that takes over has that folder
	rotates crashEnd
	fixed   crashEnd
}{
	{"refresh", crash, "before claim", untouched, untouched},
	{"refresh", crash, "after claim, before arming", notCalled, notCalled},
	{"refresh", crash, "before token", onceMore, onceMore},
	{"refresh", crash, "after token, before commit", dead, onceMore},
	{"refresh", crash, "after commit, before publish, after publish, before clearing, after clearing, before arming 2", refreshed, refreshed},
	{"refresh", fail, "before claim", untouched, untouched},
	{"refresh", fail, "after claim", takenBack, takenBack},
	{"refresh", fail, "before arming", refreshed, refreshed},
	{"refresh", fail, "before token", notSent, notSent},
	{"refresh", fail, "after token", dead, onceMore},
	{"refresh", fail, "before commit, after commit, before publish, after publish, before clearing, after clearing, before arming 2", refreshed, refreshed},

	{"revoke", crash, "before revocation", untouched, untouched},
	{"revoke", crash, "after revocation, before revoke", revoked, revoked},
	{"revoke", crash, "after revoke, before settlement", toldTwice, toldTwice},
	{"revoke", crash, "after settlement, before publish, after publish, before clearing, after clearing", revoked, revoked},
	{"revoke", fail, "before revocation", untouched, untouched},
	{"revoke", fail, "after revocation, before revoke", revoked, revoked},
	{"revoke", fail, "after revoke, before settlement", toldTwice, toldTwice},
	{"revoke", fail, "after settlement, before publish, after publish, before clearing, after clearing", revoked, revoked},

	{"forget", crash, "before revocation", untouched, untouched},
	{"forget", crash, "after revocation, before revoke", gone, gone},
	{"forget", crash, "after revoke, before settlement", goneTwice, goneTwice},
	{"forget", crash, "after settlement, before tombstone, after tombstone, before publish, after publish, before clearing, after clearing", gone, gone},
	{"forget", fail, "before revocation", untouched, untouched},
	{"forget", fail, "after revocation, before revoke", gone, gone},
	{"forget", fail, "after revoke, before settlement", goneTwice, goneTwice},
	{"forget", fail, "after settlement, before tombstone, after tombstone, before publish, after publish, before clearing, after clearing", gone, gone},

	{"unwritten refresh", crash, "before spool", dead, onceMore},
	{"unwritten refresh", crash, "after spool in a", refreshed, refreshed},
	{"unwritten refresh", crash, "after spool in b", dead, onceMore},
	{"unwritten refresh", fail, "before spool, after spool", refreshed, refreshed},

	{"import", crash, "before import, after import", untouched, untouched},
	{"import", fail, "before import, after import", untouched, untouched},
	{"import", crash, "before token, after token, before consent", dropped, dropped},
	{"import", crash, "after consent, before publish, after publish, before clearing, after clearing, before arming", imported, imported},
	{"import", fail, "before token", untouched, untouched},
	{"import", fail, "after token", dropped, dropped},
	{"import", fail, "before consent, after consent, before publish, after publish, before clearing, after clearing, before arming", imported, imported},

	{"connect", crash, "before ticket, after ticket, before ticket 2, after ticket 2", untouched, untouched},
	{"connect", crash, "before token, after token, before consent", codeSpent, codeSpent},
	{"connect", crash, "after consent, before delete, before publish, after publish, before clearing, after clearing, before arming", connected, connected},
	{"connect", fail, "before ticket, after ticket, before ticket 2, after ticket 2", untouched, untouched},
	{"connect", fail, "before token", codeUnsent, codeUnsent},
	{"connect", fail, "after token", codeFailed, codeFailed},
	{"connect", fail, "before consent, after consent, before delete, before publish, after publish, before clearing, after clearing, before arming", connected, connected},

	{"first connect", crash, "before pending", unborn, unborn},
	{"first connect", crash, "after pending, before ticket, after ticket, before ticket 2, after ticket 2", pending, pending},
	{"first connect", crash, "before token, after token, before consent", spentFirst, spentFirst},
	{"first connect", crash, "after consent, before delete, before publish, after publish, before clearing, after clearing, before arming", first, first},
	{"first connect", fail, "before pending", unborn, unborn},
	{"first connect", fail, "after pending, before ticket, after ticket, before ticket 2, after ticket 2", pending, pending},
	{"first connect", fail, "after token", lostFirst, lostFirst},
	{"first connect", fail, "before consent, after consent, before delete, before publish, after publish, before clearing, after clearing, before arming", first, first},
}

func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for _, c := range crashPoints {
		for place := range strings.SplitSeq(c.places, ", ") {
			for _, rotates := range []bool{true, false} {
				want := c.fixed
				if rotates {
					want = c.rotates
				}
				place, only, _ := strings.Cut(place, " in ")
				for _, folder := range []string{"a", "b"} {
					if only != "" && folder != only || c.kind == fail && folder == "b" { // where nothing dies there is no other
						continue
					}
					name := fmt.Sprintf("%s/%s %s/rotates=%v/folder %s goes on", c.act, c.kind, place, rotates, folder)
					t.Run(name, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { crashAt(t, c.act, c.kind, place, rotates, folder, want) })
					})
				}
			}
		}
	}
}

// crashAt has things go wrong at one place, and looks at the end when the first access token has ended. The process that takes over has the
// data folder of the dead one, or another.
func crashAt(t *testing.T, act string, k kind, place string, rotates bool, folder string, want crashEnd) {
	f := newFleet(rotates, 20*time.Minute, core.Lazy)
	defer f.end()
	r := f.mustStart(t, "a")
	if act != "first connect" {
		if err := r.takeOver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := f.vendor.presented(core.RefreshToken)
	time.Sleep(3 * time.Minute)
	nth := 1
	if once, ok := strings.CutSuffix(place, " 2"); ok {
		place, nth = once, 2
	}
	reached := f.strike(place, nth, trouble{kind: k})
	if act == "unwritten refresh" {
		f.darken("after token")
	}
	f.tasks.Go(func() { _ = crashActs[act](r) })
	time.Sleep(5 * time.Second)
	f.heal()
	if !reached() || r.dead() != (k == crash) {
		t.Fatalf("%s was reached: %v; the replica is dead: %v", place, reached(), r.dead())
	}
	if r.dead() {
		r = f.mustStart(t, folder)
	}
	time.Sleep(17 * time.Minute)
	_, _ = r.m.Token(t.Context(), alice, core.DefaultMinTTL)
	time.Sleep(time.Second)
	v := f.now()
	got := crashEnd{v.State, v.Generation, f.vendor.presented(core.RefreshToken) - before, f.vendor.presented(core.AuthorizationCode), f.vendor.revocations(),
		strings.TrimPrefix(strings.Join(f.heard(), ", "), "token.issued imported, ")}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(crashEnd{})); diff != "" {
		t.Error(diff)
	}
	wrong := f.broken()
	f.checkRest(func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) })
	if len(wrong) > 0 || t.Failed() {
		t.Errorf("%s\n\n%s", strings.Join(wrong, "\n"), strings.Join(f.trace, "\n"))
	}
}

// darken has the store be out of reach for a while, for a replica that comes to a place.
func (f *fleet) darken(place string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	more := f.meddle
	f.meddle = func(r *replica, at string) *trouble {
		if at == place {
			r.mu.Lock()
			r.dark = time.Now().Add(4 * time.Second)
			r.mu.Unlock()
		}
		return more(r, at)
	}
}

func (f *fleet) mustStart(t *testing.T, folder string) *replica {
	t.Helper()
	r, err := f.start(folder)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
