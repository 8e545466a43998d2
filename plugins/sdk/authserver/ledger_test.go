package authserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(clock *at.Clock) LedgerConfig {
	return LedgerConfig{
		ClientID: "client", ClientSecret: "secret", Access: time.Hour, Refresh: 30 * 24 * time.Hour, Code: time.Minute,
		Formats: Formats{Access: "access-%s", Refresh: "refresh-%s", Code: "code-%s"}, Now: clock.Now,
	}
}

func newLedger(t testing.TB, cfg LedgerConfig) *Ledger {
	t.Helper()
	l, err := NewLedger(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func anything(Approval) error { return nil }

func issue(t testing.TB, l *Ledger, account string) Tokens {
	t.Helper()
	code, err := l.Approve(Approval{Account: account, Scope: []string{"sign"}})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := l.Redeem(code, anything)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestLedgerNeedsClientAndLifetimes(t *testing.T) {
	good := testConfig(at.NewClock())
	for name, spoil := range map[string]func(*LedgerConfig){
		"no client":         func(c *LedgerConfig) { c.ClientID = "" },
		"no secret":         func(c *LedgerConfig) { c.ClientSecret = "" },
		"no access life":    func(c *LedgerConfig) { c.Access = 0 },
		"no code life":      func(c *LedgerConfig) { c.Code = 0 },
		"negative lifetime": func(c *LedgerConfig) { c.Refresh = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := NewLedger(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCodeIsRedeemedOnceHoweverManyTry(t *testing.T) {
	l := newLedger(t, testConfig(at.NewClock()))
	code, err := l.Approve(Approval{Account: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var won, spent atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch _, _, err := l.Redeem(code, anything); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrSpent):
				spent.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || spent.Load() != 49 {
		t.Errorf("%d redeemed it, %d found it spent", won.Load(), spent.Load())
	}
}

func TestRefusedCheckDoesNotSpendTheCode(t *testing.T) {
	l := newLedger(t, testConfig(at.NewClock()))
	code, err := l.Approve(Approval{Account: "a", RedirectURI: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Redeem(code, func(Approval) error { return ErrMismatch }); !errors.Is(err, ErrMismatch) {
		t.Fatal(err)
	}
	if _, a, err := l.Redeem(code, anything); err != nil || a.RedirectURI != "x" {
		t.Errorf("%v, %+v", err, a)
	}
}

func TestStateFileIsPrivateAndHoldsNoGrantsTokens(t *testing.T) {
	clock, file := at.NewClock(), filepath.Join(t.TempDir(), "state.json")
	cfg := testConfig(clock)
	cfg.StateFile = file
	l := newLedger(t, cfg)
	set := issue(t, l, "a")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), set.Access) || strings.Contains(string(data), set.Refresh) {
		t.Error("a token of a person is in the file")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left behind, %v", len(left)-1, err)
	}
}

func TestStateSurvivesConcurrentChanges(t *testing.T) {
	cfg := testConfig(at.NewClock())
	cfg.StateFile = filepath.Join(t.TempDir(), "state.json")
	l := newLedger(t, cfg)
	sets := make([]Tokens, 20)
	var wg sync.WaitGroup
	for i := range sets {
		wg.Go(func() { sets[i] = issue(t, l, "a") })
	}
	wg.Wait()
	own, err := l.ClientToken("read-write")
	if err != nil {
		t.Fatal(err)
	}
	again := newLedger(t, cfg)
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	for _, set := range sets {
		if _, err := again.Holder(set.Access); err != nil {
			t.Errorf("a token that was issued: %v", err)
		}
	}
	if same, err := again.ClientToken("read-write"); err != nil || same.Access != own.Access {
		t.Errorf("the shared token changed, %v", err)
	}
}

func TestUnusableStateFilesAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	cfg := testConfig(at.NewClock())
	cfg.StateFile = file
	for _, content := range []string{"{", `{"format":99}`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := newLedger(t, cfg).load(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestNothingIsAnsweredThatCannotBeWritten(t *testing.T) {
	cfg := testConfig(at.NewClock())
	cfg.StateFile = filepath.Join(t.TempDir(), "missing", "state.json")
	l := newLedger(t, cfg)
	if _, err := l.Approve(Approval{}); err == nil || IsRefusal(err) {
		t.Errorf("%v", err)
	}
}

func TestDeadThingsAreForgottenAfterADay(t *testing.T) {
	clock := at.NewClock()
	cfg := testConfig(clock)
	cfg.Refresh = time.Hour
	l := newLedger(t, cfg)
	set := issue(t, l, "a")
	clock.Advance(2 * time.Hour)
	if err := l.Revoke(set.Access); !errors.Is(err, ErrExpired) {
		t.Errorf("soon after: %v", err)
	}
	clock.Advance(26 * time.Hour)
	issue(t, l, "b")
	if err := l.Revoke(set.Access); !errors.Is(err, ErrUnknown) {
		t.Errorf("a day after: %v", err)
	}
	if len(l.state.Grants) != 1 || len(l.state.Tokens) != 2 || len(l.state.Codes) != 1 {
		t.Errorf("%d grants, %d tokens, %d codes are kept", len(l.state.Grants), len(l.state.Tokens), len(l.state.Codes))
	}
}

func TestTokensAreBounded(t *testing.T) {
	clock := at.NewClock()
	cfg := testConfig(clock)
	cfg.Rotate = true
	l := newLedger(t, cfg)
	for range tokenCap {
		l.state.Tokens[mint("%s")] = &token{Issued: clock.Now(), Spent: clock.Now(), Refresh: true, Grant: "g"}
	}
	l.state.Grants["g"] = &grant{Consented: clock.Now(), Used: clock.Now()}
	set := issue(t, l, "a")
	if n := len(l.state.Tokens); n > tokenCap {
		t.Errorf("%d tokens are kept", n)
	}
	if _, err := l.Refresh(set.Refresh); err != nil {
		t.Errorf("a live token had to go before spent ones: %v", err)
	}
}

func TestStatsAreACopy(t *testing.T) {
	l := newLedger(t, testConfig(at.NewClock()))
	issue(t, l, "a")
	l.Stats().Issued["authorization_code"] = 99
	if st := l.Stats(); st.Issued["authorization_code"] != 1 || st.LiveGrants != 1 || st.LiveAccessTokens != 1 {
		t.Errorf("%+v", st)
	}
}
