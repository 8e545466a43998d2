package host_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/internal/hostile"
)

const (
	// What the attacks that go on at a time may cost this process.
	hostileGoroutines = 600
	hostileHeap       = 256 << 20 // bytes
	hostileLog        = 1 << 20   // bytes, of one attack at once
	hostileLogASecond = 32 << 10  // bytes, and for each second that it goes on
)

var (
	hostileSecrets = []string{"CANARY-client-secret", "CANARY-refresh-token", "CANARY-access-token", "CANARY-api-key"}
	hostileLimits  = host.Limits{
		Start: time.Minute, Call: 2 * time.Second, HealthPeriod: 200 * time.Millisecond, HealthTimeout: 5 * time.Second,
		Drain: 500 * time.Millisecond, Kill: 500 * time.Millisecond, Memory: 512 << 20,
	}
)

// TestHostilePlugins goes through what a plugin can do to its host: see hostile.Attacks. Each attack is a subtest. Beside
// all of them another vendor's plugin is asked for tokens all the time, and always answers.
func TestHostilePlugins(t *testing.T) {
	other, _ := start(t, "good", host.Limits{Call: time.Minute, HealthTimeout: 20 * time.Second})
	pid := other.Status().PID
	ctx, cancel := context.WithCancel(t.Context())
	var meanwhile sync.WaitGroup
	asked := 0
	meanwhile.Go(func() {
		for ; ctx.Err() == nil; asked++ {
			if _, err := token(context.Background(), other.Adapter(), ""); err != nil {
				t.Errorf("another vendor's token, asked for meanwhile: %v", err)
				return
			}
			<-time.After(2 * time.Millisecond) // a load that leaves the machine to the attacks
		}
	})
	meanwhile.Go(func() { watchCosts(ctx, t) })
	t.Run("attacks", func(t *testing.T) {
		for _, a := range hostile.Attacks() {
			if takesLong := a.Ends != "" || strings.HasPrefix(a.Vendor, "flood"); takesLong && !allAttacks {
				continue
			}
			t.Run(a.Vendor, func(t *testing.T) {
				t.Parallel()
				if a.Refused != "" {
					refuse(t, a)
				} else {
					withstand(t, a)
				}
			})
		}
	})
	cancel()
	meanwhile.Wait()
	if s := other.Status(); s.PID != pid || s.Restarts != 0 {
		t.Errorf("another vendor's process was lost: %+v", s)
	}
	if asked < 100 {
		t.Errorf("another vendor was asked %d times meanwhile", asked)
	}
}

// watchCosts fails the test where the attacks cost this process more than they may.
func watchCosts(ctx context.Context, t *testing.T) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	goroutines, heap := 0, uint64(0)
	defer func() { t.Logf("the attacks cost at most %d goroutines and %d MiB", goroutines, heap>>20) }()
	for ; ctx.Err() == nil; <-tick.C {
		runtime.ReadMemStats(&m)
		goroutines, heap = max(goroutines, runtime.NumGoroutine()), max(heap, m.HeapAlloc)
		if goroutines > hostileGoroutines || heap > hostileHeap {
			t.Error("which is more than they may")
			return
		}
	}
}

func newHostile(t *testing.T, a hostile.Attack) (*host.Plugin, *logBuffer) {
	t.Helper()
	logs := &logBuffer{begun: time.Now()}
	limits := hostileLimits
	switch {
	case a.Refused == "said nothing in time":
		limits.Start = time.Second
	case a.Code == core.CodePlugin:
		limits.Call = time.Minute // it ends before its time is over
	}
	return newPlugin(t, host.Config{Path: binary(t, a.Vendor), Vendor: a.Vendor, Logger: logs.logger(), Limits: limits, Env: raceEnv}), logs
}

// refuse starts an attacker that must not start.
func refuse(t *testing.T, a hostile.Attack) {
	p, logs := newHostile(t, a)
	err := p.Start(t.Context())
	if err == nil {
		_ = p.Close(context.Background())
		t.Fatalf("what %s was started", a.Does)
	}
	if !strings.Contains(err.Error(), a.Refused) || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\x1b\x07\x00") {
		t.Errorf("got %.2000q, want it to say %q", err, a.Refused)
	}
	if s := p.Status(); s.PID != 0 {
		t.Errorf("its process was left: %+v", s)
	}
	checkLog(t, logs)
}

// withstand starts an attacker, calls it in every way, and closes it.
func withstand(t *testing.T, a hostile.Attack) {
	p, logs := newHostile(t, a)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := p.Status().PID
	for range 2 {
		attackOnce(t, a, p)
	}
	if a.Ends != "" {
		eventually(t, "its process is replaced", func() bool { return p.Status().Restarts > 0 })
		if s := p.Status(); !strings.Contains(s.LastError, a.Ends) {
			t.Errorf("its process ended since %q, want %q", s.LastError, a.Ends)
		}
	} else if s := p.Status(); s.Restarts != 0 || s.State != host.Ready {
		t.Errorf("%s cost the process: %+v", a.Does, s)
	}
	begun := time.Now()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 20*time.Second { // of which the limits make one, and a loaded machine the rest
		t.Errorf("closing took %s", took)
	}
	if s := p.Status(); s.State != host.Stopped || s.PID != 0 {
		t.Errorf("status: %+v", s)
	}
	eventually(t, "the end of its process group", func() bool { return errors.Is(syscall.Kill(-first, 0), syscall.ESRCH) })
	checkLog(t, logs)
}

// attackOnce makes every call once, the one that the attack is about first, and checks how it ends.
func attackOnce(t *testing.T, a hostile.Attack, p *host.Plugin) {
	t.Helper()
	client := core.Credentials{
		ClientID: "client", ClientSecret: core.NewSecret(hostileSecrets[0]),
		SecretSettings: map[string]core.Secret{"api_key": core.NewSecret(hostileSecrets[3])},
	}
	set, err := core.TokenResponse{}, error(nil)
	eventually(t, "a call reaches the plugin", func() bool {
		set, err = p.Adapter().Token(context.Background(), core.TokenRequest{
			Client: client, GrantType: core.RefreshToken,
			RefreshToken: core.NewSecret(hostileSecrets[1]), AccessToken: core.NewSecret(hostileSecrets[2]),
		})
		return err == nil || core.AsVendorError(err).Outcome != core.NotSent || a.Ends == ""
	})
	errs := []error{err}
	switch {
	case a.Code == hostile.Any:
	case a.Code != "":
		wantVendorError(t, err, core.Unknown, a.Code)
	case err != nil:
		t.Errorf("got %v, want a token set", err)
	case set.AccessToken.IsZero() || set.ExpiresIn < 0 || len(set.Scope) > 0 || set.APIBaseURL != "" || set.AccountID != "" ||
		strings.Contains(set.TokenType, "\x1b"):
		t.Errorf("what cannot be is in the answer: %+v", set)
	}
	a2 := p.Adapter()
	_, err = a2.AuthorizationURL(context.Background(), core.AuthorizationRequest{Client: client})
	errs = append(errs, err)
	_, err = a2.Callback(context.Background(), core.CallbackRequest{Client: client})
	errs = append(errs, err, a2.Revoke(context.Background(), core.RevocationRequest{Client: client}))
	_, err = a2.(core.HostChecker).CheckAPIBaseURL(context.Background(), client, "https://hostile.example")
	errs = append(errs, err)
	_, err = a2.(core.AccountVerifier).VerifyAccount(context.Background(), core.AccountRequest{Client: client})
	errs = append(errs, err)
	_, err = a2.(core.EventReader).ReadEvent(context.Background(), core.EventRequest{Client: client})
	checkText(t, "an error", fmt.Sprint(append(errs, err)))
	checkText(t, "the status", fmt.Sprintf("%+v", p.Status()))
}

// checkLog looks at what an attack left in the log.
func checkLog(t *testing.T, logs *logBuffer) {
	t.Helper()
	n := len(logs.String())
	if most := hostileLog + int(hostileLogASecond*time.Since(logs.begun).Seconds()); n > most {
		t.Errorf("the log grew by %d bytes, and may grow by %d", n, most)
	}
	checkText(t, "the log", logs.String())
}

func checkText(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range append(hostileSecrets, hostile.VendorsWords, "nobody is to see") {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s holds %q: %q", what, secret, text[max(0, at-200):min(len(text), at+200)])
		}
	}
	if strings.ContainsAny(text, "\x1b\x07\x00\r") {
		t.Errorf("%s has control characters", what)
	}
}
