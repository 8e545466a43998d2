//go:build heavy && linux

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// door stands before a vendor's sandbox and writes down which refresh tokens are presented and what they bring. It
// lets the vendor think for a while before and after it acts, so that what ends does so in the middle of it.
type door struct {
	rotates bool
	think   time.Duration // at most, before and after

	mu        sync.Mutex        // guards what follows
	codes     map[string]string // the account by the code
	consents  []*consent
	byRefresh map[string]*set
	byAccess  map[string]*set
	asked     int // for a refresh
	inside    int // requests of any kind that are being answered
	granted   []*presentation
	strange   int  // presentations of what was never issued here
	restarted bool // the sandbox's counts are those of a part of the time
	refusing  bool // answers 503, and the sandbox hears of nothing
}

// consent is what an account's owner accepted once, with every token set that came of it, in order.
type consent struct {
	account string
	sets    []*set
	ended   time.Time // by the vendor, since a spent refresh token came back; zero while it lasts
}

// set is a token set that the vendor issued.
type set struct {
	consent *consent
	access  string
	refresh string
	expires time.Time
	// by is the presentation that brought it, nil where that was a code.
	by *presentation
	// presented are those of the refresh token, in the order in which they came. Where the vendor does not rotate they
	// are all those of the consent's first set.
	presented []*presentation
}

// presentation is a request with a refresh token.
type presentation struct {
	at, answered time.Time // answered is zero while it is not, or where the connection was cut
	status       int
	brought      *set // nil: refused
}

func newDoor(rotates bool, think time.Duration) *door {
	return &door{
		rotates: rotates, think: think, codes: map[string]string{}, byRefresh: map[string]*set{}, byAccess: map[string]*set{},
	}
}

// watch is the middleware of the sandbox.
func (d *door) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		params := system.Parameters(r.Header.Get("Content-Type"), body)
		p, refused := d.came(params)
		defer d.gone()
		if refused {
			http.Error(w, "come back later", http.StatusServiceUnavailable)
			return
		}
		d.wait()
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		d.acted(params, p, kept)
		d.wait()
		for name, values := range kept.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(kept.Code)
		if _, err := w.Write(kept.Body.Bytes()); err == nil && p != nil {
			d.mu.Lock()
			p.answered = time.Now()
			d.mu.Unlock()
		}
	})
}

func (d *door) wait() { time.Sleep(rand.N(d.think + 1)) }

// restarts says that the sandbox is to be closed and opened again.
func (d *door) restarts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restarted = true
}

// refuse begins or ends to answer 503.
func (d *door) refuse(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusing = on
}

// came notes a presentation; nil is any other request. It reports whether the door itself refuses.
func (d *door) came(params url.Values) (*presentation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside++
	refresh := params.Get("refresh_token")
	if refresh == "" {
		return nil, d.refusing
	}
	d.asked++
	p := &presentation{at: time.Now()}
	if d.refusing {
		p.status = http.StatusServiceUnavailable
	}
	if s := d.byRefresh[refresh]; s != nil {
		s.presented = append(s.presented, p)
	} else {
		d.strange++
	}
	return p, d.refusing
}

// gone notes that a request was answered, or cut off.
func (d *door) gone() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
}

// acted notes what the vendor did.
func (d *door) acted(params url.Values, p *presentation, kept *httptest.ResponseRecorder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if to, err := url.Parse(kept.Header().Get("Location")); err == nil && to.Query().Has("code") {
		d.codes[to.Query().Get("code")] = params.Get("account")
	}
	if p != nil {
		p.status = kept.Code
	}
	s := read(kept)
	switch {
	case s == nil && p != nil:
		d.refused(params.Get("refresh_token"), kept.Code)
	case s == nil:
	case params.Has("code"):
		s.consent = &consent{account: d.codes[params.Get("code")]}
		d.consents = append(d.consents, s.consent)
		d.add(s)
	case p != nil:
		presented := params.Get("refresh_token")
		s.consent, s.by, p.brought = d.byRefresh[presented].consent, p, s
		if s.refresh == "" {
			s.refresh = presented
		}
		d.granted = append(d.granted, p)
		d.add(s)
	}
}

// refused notes the end of a consent whose spent refresh token was refused. d.mu is held.
func (d *door) refused(refresh string, status int) {
	s := d.byRefresh[refresh]
	if s == nil || status != http.StatusBadRequest || !s.spent() || !s.consent.ended.IsZero() {
		return
	}
	s.consent.ended = time.Now()
}

// spent reports whether the refresh token brought another.
func (s *set) spent() bool {
	return slices.ContainsFunc(s.presented, func(p *presentation) bool { return p.brought != nil && p.brought.refresh != s.refresh })
}

func (d *door) add(s *set) {
	s.consent.sets = append(s.consent.sets, s)
	d.byAccess[s.access] = s
	if d.byRefresh[s.refresh] == nil {
		d.byRefresh[s.refresh] = s
	}
}

// read returns the token set in an answer, nil where there is none.
func read(kept *httptest.ResponseRecorder) *set {
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Expires int    `json:"expires_in"`
	}
	if kept.Code != http.StatusOK || json.Unmarshal(kept.Body.Bytes(), &answer) != nil || answer.Access == "" {
		return nil
	}
	return &set{
		access: answer.Access, refresh: answer.Refresh,
		expires: time.Now().Add(time.Duration(answer.Expires) * time.Second),
	}
}

// life is when an access token expires, and when its consent ended, as far as it has.
func (d *door) life(access string) (expires, ended time.Time, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.byAccess[access]
	if s == nil {
		return time.Time{}, time.Time{}, false
	}
	return s.expires, s.consent.ended, true
}

// firstSince returns when the first refresh that was asked for after a moment was granted and answered.
func (d *door) firstSince(moment time.Time) (at time.Time, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range slices.Backward(d.granted) {
		if p.at.Before(moment.Add(-time.Minute)) {
			break
		}
		if p.at.After(moment) && !p.answered.IsZero() && (!ok || p.answered.Before(at)) {
			at, ok = p.answered, true
		}
	}
	return at, ok
}

// of returns the consents of an account. They are copies: what comes later changes them no more.
func (d *door) of(account string) []*consent {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*consent
	for _, c := range d.consents {
		if c.account != account {
			continue
		}
		copied := &consent{account: c.account, ended: c.ended}
		for _, s := range c.sets {
			t := *s
			t.presented = nil
			for _, p := range s.presented {
				q := *p
				t.presented = append(t.presented, &q)
			}
			if s.by != nil {
				q := *s.by
				t.by = &q
			}
			copied.sets = append(copied.sets, &t)
		}
		list = append(list, copied)
	}
	return list
}

// agrees compares what the door saw with the ledger of the sandbox behind it, at a moment when nothing is on its way,
// and returns how many refreshes there were.
func (d *door) agrees(box system.Sandbox) (refreshes int, wrong []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.inside > 0 { // nobody thinks for long
		d.mu.Unlock()
		time.Sleep(time.Millisecond)
		d.mu.Lock()
	}
	stats, reused := box.Stats(), 0
	for _, c := range d.consents {
		for _, s := range c.sets {
			reused += s.reused()
		}
	}
	say := func(what string, seen, counted int) {
		if seen != counted {
			wrong = append(wrong, fmt.Sprintf("%s: the door saw %d, the sandbox's ledger has %d", what, seen, counted))
		}
	}
	if !d.restarted {
		say("refreshes", len(d.granted), stats.Issued["refresh_token"])
		say("requests for one", d.asked, stats.TokenRequests["refresh_token"])
		say("spent refresh tokens that came back", reused, stats.RefreshTokensReused)
	}
	if d.rotates {
		say("refresh tokens that were presented twice at once", 0, stats.OverlappingRefreshes)
	}
	say("refresh tokens that were never issued", 0, d.strange)
	return len(d.granted), wrong
}

// reused counts the presentations of the refresh token after it was spent.
func (s *set) reused() (n int) {
	spent := false
	for _, p := range s.presented {
		if spent {
			n++
		}
		spent = spent || p.brought != nil && p.brought.refresh != s.refresh
	}
	return n
}
