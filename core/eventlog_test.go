package core_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

// told is a log that is read.
type told struct{ transcript.Transcript }

// lines returns the lines whose message begins so.
func (l *told) lines(t *testing.T, begin string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(fields["msg"].(string), begin) {
			found = append(found, fields)
		}
	}
	return found
}

// telling is a world whose log is read.
func telling(t *testing.T) (*world, *told) {
	log := &told{}
	return newWorld(t, func(c *core.Config) { c.Logger = slog.New(slog.NewJSONHandler(log, nil)) }), log
}

// wantLine holds that an event is a line of a level, which says of which grant and what happens next.
func wantLine(t *testing.T, log *told, of core.EventType, level string, also ...string) {
	t.Helper()
	found := log.lines(t, string(of))
	if len(found) == 0 {
		t.Errorf("%s is not told", of)
		return
	}
	line := found[len(found)-1]
	if line["level"] != level || line["vendor"] != "acme" || line["client"] != "acme-main" || line["next"] == "" || line["next"] == nil {
		t.Errorf("%s is told as %v", of, line)
	}
	for _, key := range also {
		if text, _ := line[key].(string); text == "" && line[key] == nil {
			t.Errorf("%s is told without %s: %v", of, key, line)
		}
	}
}

func TestLogSaysOfEachEventWhatHappensNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := telling(t)
		defer w.close()
		w.imported()
		wantLine(t, log, core.TokenIssued, "INFO", "grant", "expires_at", "reason")
		refuse := func(code string) {
			w.vendor.set(func(v *vendor) {
				v.before = func(context.Context, core.TokenRequest) error {
					return &core.VendorError{Outcome: core.Refused, Code: code}
				}
			})
		}
		refuse(core.CodeUnavailable)
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		wantLine(t, log, core.TokenExpiring, "INFO", "grant")
		wantLine(t, log, core.TokenRefreshFailed, "WARN", "grant", "attempts", "next_attempt")
		refuse(core.CodeInvalidGrant)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		wantLine(t, log, core.GrantReauthorizationRequired, "WARN", "grant", "reason")
	})
}

// A client's event is owed once for each of its tenants, and told once.
func TestSuspensionOfAClientIsTheOperatorsToMendAndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &told{}
		w := newWorld(t, func(c *core.Config) {
			c.Logger = slog.New(slog.NewJSONHandler(log, nil))
			c.Clients[0].Tenants = append(c.Clients[0].Tenants, "second", "third")
		})
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
			}
		})
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		wantLine(t, log, core.ClientSuspended, "ERROR")
		if n := len(log.lines(t, string(core.ClientSuspended))); n != 1 {
			t.Errorf("the suspension was told %d times", n)
		}
	})
}

// Every caller meets an outage of the store; the log is not to be drowned by it.
func TestOutageOfTheStoreIsToldOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &told{}
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Logger, c.Store = slog.New(slog.NewJSONHandler(log, nil)), store })
		defer w.close()
		store.set(func(s *flakyStore) { s.broken = true })
		defer store.set(func(s *flakyStore) { s.broken = false })
		began := time.Now()
		for range 100 {
			if _, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com"}); err == nil {
				t.Fatal("the store takes nothing, and there is an authorization")
			}
		}
		most := 1 + int(time.Since(began)/(10*time.Second))
		if n := len(log.lines(t, "the store did not answer")); n < 1 || n > most {
			t.Errorf("the outage was told %d times in %s", n, time.Since(began))
		}
	})
}
