package core_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

const newcomer = "new@example.com"

// accountVendor is a vendor that has accounts: one can be looked up and created, and it tells of them by itself.
type accountVendor struct {
	*vendor
	mu       sync.Mutex
	accounts map[string]string // id by e-mail address
	created  int
	// onCreate is the answer to a creation, after the vendor has acted. nil: what it should be.
	onCreate func() error
}

func (v *accountVendor) VerifyAccount(_ context.Context, r core.AccountRequest) (core.AccountLookup, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id, ok := v.accounts[r.EmailAddress]
	return core.AccountLookup{Exists: ok, AccountID: id}, nil
}

func (v *accountVendor) CreateAccount(_ context.Context, r core.AccountRequest) (core.CreatedAccount, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.accounts[r.EmailAddress]; ok {
		return core.CreatedAccount{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeHTTPError, Status: 400}
	}
	v.created++
	v.accounts[r.EmailAddress] = "id-" + r.EmailAddress
	if v.onCreate != nil {
		if err := v.onCreate(); err != nil {
			return core.CreatedAccount{}, err
		}
	}
	tokens, err := v.act(core.TokenRequest{GrantType: core.AuthorizationCode})
	return core.CreatedAccount{AccountID: "id-" + r.EmailAddress, Tokens: tokens}, err
}

// ReadEvent reads "<type> <account id>".
func (v *accountVendor) ReadEvent(_ context.Context, r core.EventRequest) (core.VendorEvent, error) {
	kind, id, ok := strings.Cut(string(r.Body), " ")
	switch {
	case !ok:
		return core.VendorEvent{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest}
	case kind == "forged":
		return core.VendorEvent{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeAccessDenied}
	}
	return core.VendorEvent{Type: core.VendorEventType(kind), AccountID: id, Reply: "received"}, nil
}

// newAccountWorld is newWorld at a vendor that has accounts.
func newAccountWorld(t *testing.T, change ...func(*core.Config)) (*world, *accountVendor) {
	t.Helper()
	v := &accountVendor{accounts: map[string]string{"old@example.com": "id-old"}}
	w := newWorld(t, append([]func(*core.Config){func(c *core.Config) {
		adapters := c.Adapters.(core.AdapterMap)
		v.vendor = adapters["acme"].(*vendor)
		adapters["acme"] = v
	}}, change...)...)
	return w, v
}

func (w *world) create() (core.GrantInfo, error) {
	return w.m.CreateAccount(w.t.Context(), core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: newcomer})
}

func (w *world) told(body string) error {
	reply, err := w.m.VendorEvent(w.t.Context(), main, core.EventRequest{Body: []byte(body)})
	if err == nil && reply != "received" {
		w.t.Errorf("the vendor is answered %q", reply)
	}
	return err
}

func TestCreatedAccountServesTokensOnceItsOwnerConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := newAccountWorld(t)
		defer w.close()
		for range 2 { // asking again answers the same
			info, err := w.create()
			if err != nil || info.State != core.AwaitingConfirmation || info.AccountID != "id-"+newcomer || info.Account != newcomer {
				t.Fatalf("create: %+v, %v", info, err)
			}
		}
		sel := core.Selector{Tenant: tenant, Client: main, Account: newcomer}
		_, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL)
		if e := core.AsError(err); e.Code != core.TemporarilyUnavailable || e.Reason != string(core.AwaitingConfirmation) {
			t.Fatalf("before the confirmation: %v", err)
		}
		time.Sleep(5 * time.Minute)
		for _, body := range []string{"account_confirmed id-of-somebody-else", "", "forged id-" + newcomer, " id-" + newcomer} {
			if err := w.told(body); err != nil && !errors.Is(err, core.AccessDenied) && !errors.Is(err, core.InvalidRequest) {
				t.Fatal(err)
			}
		}
		if _, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Fatalf("after events that do not count: %v", err)
		}
		for range 2 { // the vendor repeats itself
			if err := w.told("account_confirmed id-" + newcomer); err != nil {
				t.Fatal(err)
			}
		}
		tok, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL)
		if err != nil || tok.Generation != 1 || tok.ExpiresIn > 55*time.Minute {
			t.Errorf("after the confirmation: generation %d, expires in %s, %v", tok.Generation, tok.ExpiresIn, err)
		}
		if v.created != 1 || w.vendor.refreshes() != 0 {
			t.Errorf("%d accounts created, %d refreshes; want 1 and 0", v.created, w.vendor.refreshes())
		}
		if diff := cmp.Diff([]string{"token.issued confirmed"}, w.events.types()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConfirmationAfterTheTokenEndedIsFollowedByARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newAccountWorld(t)
		defer w.close()
		if _, err := w.create(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if n := w.vendor.refreshes(); n != 0 {
			t.Fatalf("%d refreshes of a token set that does not work yet", n)
		}
		if err := w.told("account_confirmed id-" + newcomer); err != nil {
			t.Fatal(err)
		}
		tok, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: main, Account: newcomer}, core.DefaultMinTTL)
		if err != nil || tok.Generation != 2 {
			t.Errorf("generation %d, %v", tok.Generation, err)
		}
	})
}

func TestCreatedAccountOutlivesACrashAndAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w, _ := newAccountWorld(t, func(c *core.Config) { c.Store = store })
		store.set(func(s *flakyStore) { s.broken = true })
		if _, err := w.create(); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Fatalf("the store is away: %v", err)
		}
		store.set(func(s *flakyStore) { s.broken = false })
		w.close()
		w.m = w.start()
		defer w.close()
		time.Sleep(time.Minute)
		if err := w.told("account_confirmed id-" + newcomer); err != nil {
			t.Fatal(err)
		}
		if info, err := w.m.Grant(t.Context(), core.Selector{Tenant: tenant, Client: main, Account: newcomer}); err != nil || info.State != core.Active {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

func TestConfirmationWaitsForAnOutcomeThatIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w, _ := newAccountWorld(t, func(c *core.Config) { c.Store = store })
		defer w.close()
		store.set(func(s *flakyStore) { s.broken = true })
		if _, err := w.create(); err == nil {
			t.Fatal("committed")
		}
		if err := w.told("account_confirmed id-" + newcomer); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Errorf("want the vendor to send it again, got %v", err)
		}
		store.set(func(s *flakyStore) { s.broken = false })
	})
}

func TestCreateAccountRefusesWhatItShould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := newAccountWorld(t)
		defer w.close()
		w.imported()
		for name, tt := range map[string]struct {
			ask  core.AccountAsk
			want core.Code
		}{
			"no client":         {core.AccountAsk{Tenant: tenant, EmailAddress: newcomer}, core.InvalidRequest},
			"unknown client":    {core.AccountAsk{Tenant: tenant, Client: "x", EmailAddress: newcomer}, core.NotFound},
			"other tenant":      {core.AccountAsk{Tenant: "t2", Client: main, EmailAddress: newcomer}, core.NotFound},
			"no accounts":       {core.AccountAsk{Tenant: tenant, Client: robot, EmailAddress: newcomer}, core.Unsupported},
			"no address":        {core.AccountAsk{Tenant: tenant, Client: main}, core.InvalidRequest},
			"no e-mail address": {core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: "me"}, core.InvalidRequest},
			"too long":          {core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: strings.Repeat("a", 400) + "@b"}, core.InvalidRequest},
			"there already":     {core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: "old@example.com"}, core.InvalidRequest},
			"active grant":      {core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: "alice@example.com"}, core.InvalidRequest},
		} {
			if _, err := w.m.CreateAccount(t.Context(), tt.ask); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %s", name, err, tt.want)
			}
		}
		if v.created != 0 {
			t.Errorf("%d accounts were created", v.created)
		}
	})
}

func TestVendorThatFailsDuringACreationLeavesNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := newAccountWorld(t)
		defer w.close()
		v.onCreate = func() error { return &core.VendorError{Outcome: core.Unknown, Code: core.CodeHTTPError, Status: 500} }
		if _, err := w.create(); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Errorf("got %v", err)
		}
		if _, err := w.m.Grant(t.Context(), core.Selector{Tenant: tenant, Client: main, Account: newcomer}); !errors.Is(err, core.NotFound) {
			t.Errorf("the grant: %v", err)
		}
	})
}

func TestVerifyAccountSaysWhetherThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newAccountWorld(t)
		defer w.close()
		for email, want := range map[string]core.AccountLookup{"old@example.com": {Exists: true, AccountID: "id-old"}, newcomer: {}} {
			got, err := w.m.VerifyAccount(t.Context(), core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: email})
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v", email, got, err)
			}
		}
	})
}

func TestAdapterWithoutAccountsIsUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		ask := core.AccountAsk{Tenant: tenant, Client: main, EmailAddress: newcomer}
		_, verify := w.m.VerifyAccount(t.Context(), ask)
		_, create := w.m.CreateAccount(t.Context(), ask)
		_, event := w.m.VendorEvent(t.Context(), main, core.EventRequest{})
		for name, err := range map[string]error{"verify": verify, "create": create, "event": event} {
			if !errors.Is(err, core.Unsupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.m.VendorEvent(t.Context(), "x", core.EventRequest{}); !errors.Is(err, core.NotFound) {
			t.Errorf("unknown client: %v", err)
		}
	})
}

func TestVendorsNoticeEndsTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newAccountWorld(t)
		defer w.close()
		if _, err := w.create(); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"account_confirmed id-" + newcomer, "authorization_revoked id-" + newcomer, "authorization_revoked id-" + newcomer} {
			if err := w.told(body); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: main, Account: newcomer}, core.DefaultMinTTL)
		if !errors.Is(err, core.ReauthorizationRequired) || core.AsError(err).ConnectURL == "" {
			t.Errorf("got %v", err)
		}
		want := []string{"token.issued confirmed", "token.revoked revoked_at_vendor"}
		if diff := cmp.Diff(want, w.events.types()); diff != "" {
			t.Error(diff)
		}
		if w.vendor.revokes != 0 {
			t.Errorf("the vendor was told %d times what it said itself", w.vendor.revokes)
		}
	})
}

func TestConsentOfTheOwnerWinsOverACreationThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := newAccountWorld(t)
		defer w.close()
		v.onCreate = func() error {
			a, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: newcomer, RedirectURI: "https://svc.example/cb"})
			if err != nil {
				return err
			}
			_, err = w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: url.Values{"state": {a.State}, "code": {"c"}}})
			return err
		}
		if info, err := w.create(); err != nil || info.State != core.Active || info.Generation != 1 {
			t.Fatalf("%+v, %v", info, err)
		}
		if diff := cmp.Diff([]string{"token.issued authorized"}, w.events.types()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReportIsToldToTheAdapterWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(10 * time.Second)
		var got []core.TokenRequest
		w.vendor.set(func(v *vendor) {
			v.before = func(_ context.Context, r core.TokenRequest) error { got = append(got, r); return nil }
		})
		old := w.token()
		if _, err := w.m.Report(t.Context(), w.sel(), old.Generation); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := w.m.Refresh(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || !got[0].Reported || got[1].Reported || !got[0].AccessToken.Equal(old.AccessToken) {
			t.Errorf("the adapter was asked %d times: %+v", len(got), got)
		}
	})
}
