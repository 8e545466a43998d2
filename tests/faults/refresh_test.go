package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

// reply is what a caller got.
type reply struct {
	token core.Token
	err   error
}

// forcedWithin is for how long after a token set a forced refresh answers that one.
const forcedWithin = time.Second

// refreshGoesWrong lets a refresh go wrong: of a grant whose access token lives, and of one that has none to fall back
// on.
func refreshGoesWrong(w *world) {
	live, sibling, spent := w.imported("live", "a@example.com", true), w.imported("live", "b@example.com", true), w.imported("spent", "c@example.com", false)
	w.turn.aside(func() { time.Sleep(forcedWithin) })
	var ofLive, ofSpent reply
	w.goWrong(2, func() {
		var asking sync.WaitGroup
		asking.Go(func() { ofLive.token, ofLive.err = w.manager.Refresh(w.t.Context(), live.Selector) })
		asking.Go(func() {
			ofSpent.token, ofSpent.err = w.manager.Token(w.t.Context(), spent.Selector, core.DefaultMinTTL)
		})
		asking.Wait()
	})
	w.wantFate(2)
	want := consequences()[w.row.scope]
	w.wantReply("live", ofLive, want.live, live.access)
	w.wantReply("spent", ofSpent, want.spent, spent.access)
	for _, g := range []grant{live, spent} {
		w.wantPresented(g)
		w.wantInfo(g)
	}
	w.wantEvents(live)
	w.wantSibling(sibling)
	w.wantAgain(live)
	w.searchAll()
}

// wantFate checks what the adapter said of n calls.
func (w *world) wantFate(n int) {
	w.t.Helper()
	ended := w.calls.ended()
	if len(ended) != n {
		w.t.Fatalf("the adapter was called %d times, want %d", len(ended), n)
	}
	for _, err := range ended {
		if w.row.fate == issued {
			if err != nil {
				w.t.Errorf("the adapter fails: %v", err)
			}
			continue
		}
		var v *core.VendorError
		if !errors.As(err, &v) {
			w.t.Fatalf("the adapter's error is %T", err)
		}
		got := row{fault: w.row.fault, vendor: w.row.vendor, scope: w.row.scope, fate: fate(v.Outcome.String()), code: v.Code, status: v.Status, wait: v.RetryAfter}
		if got != w.row {
			w.t.Errorf("the adapter says %+v, want %+v", got, w.row)
		}
		w.seen.search(w.t, "the adapter's error", errorText(err))
	}
}

// errorText is all that an error says, however it is printed.
func errorText(err error) string {
	var b strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		_, _ = fmt.Fprintf(&b, "%v %+v %#v\n", err, err, err)
	}
	return b.String()
}

// wantReply checks a caller's answer: an error with the code, or where that is empty a token.
func (w *world) wantReply(who string, got reply, code core.Code, before core.Secret) {
	w.t.Helper()
	if got.err != nil {
		w.seen.search(w.t, who+": the error", errorText(got.err))
	}
	if code != "" {
		w.wantError(who, got.err, code)
		return
	}
	if got.err != nil {
		w.t.Errorf("%s: %v", who, got.err)
		return
	}
	w.seen.Note("access_token", got.token.AccessToken.Reveal())
	if !w.opens(got.token.AccessToken) {
		w.t.Errorf("%s: the vendor does not take the token", who)
	}
	if w.row.fate != issued {
		if warnings := w.warnings(); !slices.Equal(got.token.Warnings, warnings) {
			w.t.Errorf("%s: warnings %v, want %v", who, got.token.Warnings, warnings)
		}
		if !got.token.AccessToken.Equal(before) || got.token.Generation != 1 {
			w.t.Errorf("%s: it is not the token of before", who)
		}
		return
	}
	if got.token.AccessToken.Equal(before) || got.token.Generation != 2 || len(got.token.Warnings) > 0 {
		w.t.Errorf("%s: generation %d with warnings %v", who, got.token.Generation, got.token.Warnings)
	}
	lifetime := w.row.lifetime
	if lifetime == 0 {
		lifetime = w.vendor.lifetime
	}
	if lifetime < got.token.ExpiresIn || lifetime-got.token.ExpiresIn > 30*time.Second {
		w.t.Errorf("%s: the token lives %s, want %s", who, got.token.ExpiresIn, lifetime)
	}
	w.seen.search(w.t, who+": what is told of the token", fmt.Sprintf("%+v", got.token))
}

// warnings are those of the token that lives on after the failure.
func (w *world) warnings() []core.Warning {
	list := []core.Warning{consequences()[w.row.scope].warning}
	if w.uncertain() {
		list = slices.Insert(list, 0, core.WarnOutcomeUnknown)
	}
	return list
}

// uncertain reports whether the failure leaves the refresh token's fate open.
func (w *world) uncertain() bool { return w.row.fate == unknown && w.vendor.rotates }

func (w *world) wantError(who string, err error, code core.Code) {
	w.t.Helper()
	var e *core.Error
	if !errors.As(err, &e) {
		w.t.Errorf("%s: got %v, want %s", who, err, code)
		return
	}
	reason := consequences()[w.row.scope].reason
	if reason == "" {
		reason = w.row.code
	}
	if e.Code != code || e.Reason != reason {
		w.t.Errorf("%s: got %s with reason %q, want %s with %q", who, e.Code, e.Reason, code, reason)
	}
	switch code {
	case core.TemporarilyUnavailable:
		if e.RetryAfter < max(time.Second, w.wait()) {
			w.t.Errorf("%s: retry_after %s", who, e.RetryAfter)
		}
	case core.ReauthorizationRequired:
		if e.ConnectURL == "" {
			w.t.Errorf("%s: there is no connect_url", who)
		}
		w.seen.Note("connect ticket", e.ConnectURL[strings.LastIndexByte(e.ConnectURL, '/')+1:])
	}
}

// wait is how long the vendor is left alone at its own wish: an hour at most.
func (w *world) wait() time.Duration { return min(w.row.wait, time.Hour) }

// wantPresented checks that the refresh token was sent once, or not at all.
func (w *world) wantPresented(g grant) {
	w.t.Helper()
	if got, want := w.presentations(g.refresh), w.once(); got != want {
		w.t.Errorf("the refresh token was presented %d times, want %d", got, want)
	}
}

// once is how many requests of one call reach the proxy.
func (w *world) once() int {
	if w.row.fate == notSent {
		return 0
	}
	return 1
}

// wantAgain checks that a failed refresh is not repeated for the asking, before its time.
func (w *world) wantAgain(g grant) {
	w.t.Helper()
	if w.row.fate == issued {
		return
	}
	next := w.info(g).NextAttempt
	_, _ = w.manager.Refresh(w.t.Context(), g.Selector) // whose answer was looked at before
	if next.IsZero() || time.Now().Before(next) {
		w.wantPresented(g)
	}
}

// wantInfo checks what the grant is afterwards.
func (w *world) wantInfo(g grant) {
	w.t.Helper()
	info, want := w.info(g), consequences()[w.row.scope]
	if info.State != want.state {
		w.t.Errorf("the grant is %s, want %s", info.State, want.state)
	}
	if w.row.fate == issued {
		attempts, lastError := 0, ""
		if w.row.scope == ofTooShort { // it waits as after a failure
			attempts, lastError = 1, core.CodeUnavailable
		}
		if info.Attempts != attempts || info.LastError != lastError || info.NextAttempt.IsZero() != (attempts == 0) || info.Generation != 2 {
			w.t.Errorf("after a token set: %+v", info)
		}
		return
	}
	if info.Attempts != 1 || info.LastError != w.row.code || info.Generation != 1 {
		w.t.Errorf("attempts %d, last error %s, generation %d", info.Attempts, info.LastError, info.Generation)
	}
	if got := slices.Contains(info.Warnings, core.WarnOutcomeUnknown); got != w.uncertain() {
		w.t.Errorf("warnings %v", info.Warnings)
	}
	if got := slices.Contains(info.Warnings, core.WarnClientSuspended); got != (w.row.scope == ofClient) {
		w.t.Errorf("warnings %v", info.Warnings)
	}
	if want.most == 0 {
		if !info.NextAttempt.IsZero() || info.Reason != want.reason {
			w.t.Errorf("next attempt %s, reason %q", info.NextAttempt, info.Reason)
		}
		return
	}
	failed := w.awaitEvent(g.id, want.event).Time
	wait := info.NextAttempt.Sub(failed)
	first, most := max(want.first, w.wait()), max(want.most, w.wait())
	if info.ExpiresAt.After(failed) { // a live token can wait for its end
		most = max(most, info.ExpiresAt.Sub(failed))
	}
	if wait < first-time.Second/2 || wait > most+time.Second/2 {
		w.t.Errorf("the next attempt is %s after the failure, want %s to %s", wait, first, most)
	}
}

// wantSibling checks what the failure means for another grant of the client, now that the vendor is well again.
func (w *world) wantSibling(g grant) {
	w.t.Helper()
	if w.proxy.URLFor(w.fault) != w.proxy.URL() {
		return // this client's vendor does not get well
	}
	token, err := w.manager.Refresh(w.t.Context(), g.Selector)
	if err != nil {
		w.t.Fatalf("the sibling: %v", err)
	}
	want := consequences()[w.row.scope]
	if want.binds || w.row.wait > 0 {
		if n := w.presentations(g.refresh); n != 0 || !slices.Equal(token.Warnings, []core.Warning{want.warning}) {
			w.t.Errorf("the sibling: the vendor was called %d times, with warnings %v", n, token.Warnings)
		}
		return
	}
	if n := w.presentations(g.refresh); n != 1 || len(token.Warnings) > 0 || token.Generation != 2 {
		w.t.Errorf("the sibling: the vendor was called %d times, generation %d, warnings %v", n, token.Generation, token.Warnings)
	}
}

// wantEvents checks what was told of the grant and of its client.
func (w *world) wantEvents(g grant) {
	w.t.Helper()
	want := consequences()[w.row.scope]
	reason := w.row.code
	if w.row.fate == issued {
		reason = core.IssuedRefreshed
	}
	w.wantTold(g.id, want.event, reason)
	if w.row.scope == ofClient {
		w.wantSuspended(2) // under both of its names
	} else if list := w.events.of(""); len(list) > 0 {
		w.t.Errorf("events about the client: %+v", list)
	}
}

// wantTold checks that after the import one event was told of a grant, and which.
func (w *world) wantTold(grant string, event core.EventType, reason string) {
	w.t.Helper()
	told := w.awaitEvents(grant, 2)
	if len(told) == 3 && w.row.scope == ofTooShort && told[2].Type == core.TokenExpiring && told[2].Generation == told[1].Generation {
		told = told[:2] // its second was over before we looked
	}
	if len(told) != 2 || told[0].Type != core.TokenIssued || told[1].Type != event || told[1].Reason != reason {
		w.t.Errorf("the events are %+v, want %s and %s with reason %q", told, core.TokenIssued, event, reason)
	}
}

// wantSuspended checks that n clients were told to be suspended.
func (w *world) wantSuspended(n int) {
	w.t.Helper()
	for _, e := range w.awaitEvents("", n) {
		if e.Type != core.ClientSuspended || e.Reason != w.row.code {
			w.t.Errorf("the client's event is %s with %q", e.Type, e.Reason)
		}
	}
}
