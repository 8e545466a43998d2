package dropboxsign_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esignd/esignd/core"
)

const received = "Hello API Event Received"

// published is the API key of the examples in the vendor's SDKs, and publishedHashes are hashes that are published with
// it, by time and type: what our arithmetic is held against.
const published = "324e3b0840f065eb51f3fd63231d0d33daa35d4ed10d27718839e81737065782"

func publishedHashes() []posted {
	return []posted{
		{kind: "account_confirmed", when: "1669926463", hash: "ff8b03439122f9160500c3fb855bdee5a9ccba5fff27d3b258745d8f3074832f"},
		{kind: "account_confirmed", when: "1348177752", hash: "6dc5b7aad93cf54915e0089d6c31d61b3833f66f51459171c69f8fa211308848"},
		{kind: "signature_request_sent", when: "1348177752", hash: "08d45a6b7677492b78be030cef18cfeaece8fe67e163cc8e526ee638ad483756"},
		{kind: "template_created", when: "1348177752", hash: "4a9b22fa68d5addb8b6313eea9d42ecb393903a4240b71503ef78e9dac6c100d"},
		{kind: "unknown_error", when: "1348177752", hash: "c574f5d3090c2936360b4e36cf6835cf3e2206b84fdc6347e6b28ca721ae1371"},
	}
}

func epoch(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// posted is an event as the vendor would post it. What is empty is null, or not there.
type posted struct {
	kind, when                 string
	account                    string // of the account object
	reportedFor, guid          string // of whom it is reported for, and the same by its older name
	app, clientID              string // of which app, twice too
	key                        string // that signs; empty: apiKey
	hash, signedKind, signedAt string // in the place of the right ones
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (p posted) json() string {
	mac := hmac.New(sha256.New, []byte(or(p.key, apiKey)))
	_, _ = io.WriteString(mac, or(p.signedAt, p.when)+or(p.signedKind, p.kind))
	body := map[string]any{
		"event": map[string]any{
			"event_time": p.when, "event_type": p.kind, "event_hash": or(p.hash, hex.EncodeToString(mac.Sum(nil))),
			"event_metadata": map[string]any{
				"related_signature_id": nil, "reported_for_account_id": orNull(p.reportedFor), "reported_for_app_id": orNull(p.app), "event_message": nil,
			},
		},
		"account_guid": orNull(p.guid), "client_id": orNull(p.clientID),
	}
	if p.account != "" {
		body["account"] = map[string]any{"account_id": p.account, "email_address": "a@b", "quotas": map[string]any{"documents_left": nil}}
	}
	raw, _ := json.Marshal(body)
	return string(raw)
}

func inForm(field, content string) core.EventRequest {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	_ = form.WriteField("first", "something else")
	_ = form.WriteField(field, content)
	_ = form.Close()
	return core.EventRequest{Header: http.Header{"Content-Type": {form.FormDataContentType()}}, Body: body.Bytes()}
}

func urlEncoded(content string) core.EventRequest {
	return core.EventRequest{
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(url.Values{"json": {content}}.Encode()),
	}
}

func read(t *testing.T, r core.EventRequest, key string, at time.Time) (core.VendorEvent, error) {
	t.Helper()
	r.Client, r.ReceivedAt = withKey(client(nil), key), at
	return adapter().ReadEvent(t.Context(), r)
}

func refusedWith(err error, code string) bool {
	var e *core.VendorError
	return errors.As(err, &e) && e.Code == code && e.Outcome == core.NotSent && !strings.Contains(err.Error(), "CANARY")
}

func TestEventHashIsTheVendors(t *testing.T) {
	for _, p := range publishedHashes() {
		seconds, err := strconv.ParseInt(p.when, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		p.account = "acc"
		for key, accepted := range map[string]bool{published: true, published[1:]: false, apiKey: false} {
			got, err := read(t, inForm("json", p.json()), key, time.Unix(seconds, 0))
			if accepted && (err != nil || got.Reply != received || (got.Type == core.VendorEventAccountConfirmed) != (p.kind == "account_confirmed")) {
				t.Errorf("%s at %s: %+v, %v", p.kind, p.when, got, err)
			}
			if !accepted && !refusedWith(err, core.CodeAccessDenied) {
				t.Errorf("%s at %s, with another key: %+v, %v", p.kind, p.when, got, err)
			}
		}
	}
}

func TestEventIsAcceptedWhereTheVendorSignedItLately(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) posted {
		return posted{kind: "account_confirmed", account: "acc", app: "id", when: epoch(now.Add(d))}
	}
	with := func(change func(*posted)) posted {
		p := at(0)
		change(&p)
		return p
	}
	for name, tt := range map[string]struct {
		event posted
		code  string // empty: accepted
	}{
		"now":                         {at(0), ""},
		"retried for three days":      {at(-72 * time.Hour), ""},
		"the last minute":             {at(-73*time.Hour + time.Minute), ""},
		"stale":                       {at(-73*time.Hour - time.Minute), core.CodeAccessDenied},
		"the vendor's clock":          {at(4 * time.Minute), ""},
		"from the future":             {at(6 * time.Minute), core.CodeAccessDenied},
		"from 1970":                   {with(func(p *posted) { p.when = "0" }), core.CodeAccessDenied},
		"no time":                     {with(func(p *posted) { p.when = "" }), core.CodeInvalidRequest},
		"a time that is none":         {with(func(p *posted) { p.when = "CANARY" }), core.CodeInvalidRequest},
		"a time beyond all":           {with(func(p *posted) { p.when = "99999999999999999999" }), core.CodeInvalidRequest},
		"signed by another":           {with(func(p *posted) { p.key = "other" }), core.CodeAccessDenied},
		"signed for another kind":     {with(func(p *posted) { p.signedKind = "callback_test" }), core.CodeAccessDenied},
		"signed for another time":     {with(func(p *posted) { p.signedAt = epoch(now.Add(-time.Hour)) }), core.CodeAccessDenied},
		"a stale one with a new time": {with(func(p *posted) { p.signedAt = epoch(now.Add(-80 * time.Hour)) }), core.CodeAccessDenied},
		"no hash":                     {with(func(p *posted) { p.hash = " " }), core.CodeAccessDenied},
		"hash cut short":              {with(func(p *posted) { p.hash = "ab" }), core.CodeAccessDenied},
		"hash in upper case":          {with(func(p *posted) { p.hash = strings.ToUpper(hashOf(p.when + p.kind)) }), core.CodeAccessDenied},
		"time and type are one text": {with(func(p *posted) {
			p.when, p.signedAt = p.when+"account_", p.when
			p.kind, p.signedKind = "confirmed", p.kind
		}), core.CodeInvalidRequest},
		"the seam between them is moved": {with(func(p *posted) {
			p.signedKind, p.kind = p.kind, p.when[9:]+p.kind
			p.signedAt, p.when = p.when, p.when[:9]
		}), core.CodeAccessDenied},
	} {
		for _, r := range []core.EventRequest{inForm("json", tt.event.json()), urlEncoded(tt.event.json())} {
			got, err := read(t, r, apiKey, now)
			if tt.code != "" && !refusedWith(err, tt.code) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			want := core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: "acc", Reply: received}
			if tt.code == "" && (err != nil || got != want) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}

func hashOf(text string) string {
	mac := hmac.New(sha256.New, []byte(apiKey))
	_, _ = io.WriteString(mac, text)
	return hex.EncodeToString(mac.Sum(nil))
}

// Whatever the vendor signed is acknowledged, since it would send it again for days.
func TestEventMeansTheAccountItIsAbout(t *testing.T) {
	now := time.Now()
	confirmed := func(change func(*posted)) posted {
		p := posted{kind: "account_confirmed", when: epoch(now)}
		change(&p)
		return p
	}
	other := func(kind string) posted { return posted{kind: kind, when: epoch(now), account: "acc", app: "id"} }
	for name, tt := range map[string]struct {
		event posted
		want  string // empty: ignored
	}{
		"of the app":                        {confirmed(func(p *posted) { p.account, p.app = "acc", "id" }), "acc"},
		"of the app, by both names":         {confirmed(func(p *posted) { p.account, p.app, p.clientID = "acc", "id", "id" }), "acc"},
		"of our account, about another":     {confirmed(func(p *posted) { p.account, p.reportedFor, p.guid = "acc", "ours", "ours" }), "acc"},
		"without an account object":         {confirmed(func(p *posted) { p.reportedFor = "acc" }), "acc"},
		"by its older name":                 {confirmed(func(p *posted) { p.guid = "acc" }), "acc"},
		"about nobody":                      {confirmed(func(p *posted) { p.app = "id" }), ""},
		"of another app":                    {confirmed(func(p *posted) { p.account, p.app = "acc", "other" }), ""},
		"of another app, by the older name": {confirmed(func(p *posted) { p.account, p.clientID = "acc", "other" }), ""},
		"callback_test":                     {posted{kind: "callback_test", when: epoch(now)}, ""},
		"signature_request_sent":            {other("signature_request_sent"), ""},
		"of a kind not known yet":           {other("account_revoked"), ""},
		"of no kind":                        {other(""), ""},
		"of a kind in capitals":             {other("ACCOUNT_CONFIRMED"), ""},
	} {
		got, err := read(t, inForm("json", tt.event.json()), apiKey, now)
		want := core.VendorEvent{Reply: received}
		if tt.want != "" {
			want.Type, want.AccountID = core.VendorEventAccountConfirmed, tt.want
		}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestEventThatCannotBeReadIsRefused(t *testing.T) {
	good := posted{kind: "account_confirmed", account: "acc", when: epoch(time.Now())}.json()
	for name, r := range map[string]core.EventRequest{
		"empty":                {},
		"no content type":      {Body: []byte(good)},
		"JSON without a form":  {Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(good)},
		"no boundary":          {Header: http.Header{"Content-Type": {"multipart/form-data"}}, Body: inForm("json", good).Body},
		"another field":        inForm("event", good),
		"no JSON":              inForm("json", "CANARY"),
		"an array":             inForm("json", "[]"),
		"types":                inForm("json", `{"event":{"event_time":7}}`),
		"cut":                  {Header: inForm("json", good).Header, Body: inForm("json", good).Body[:60]},
		"endless":              inForm("json", `{"event":{"event_type":"`+strings.Repeat("x", 300<<10)+`"}}`),
		"URL-encoded, endless": urlEncoded(`{"event":{"event_type":"` + strings.Repeat("x", 300<<10) + `"}}`),
		"URL-encoded, twice":   {Header: urlEncoded("").Header, Body: []byte("json=%7B%7D&json=%7B%7D")},
		"URL-encoded, wrongly": {Header: urlEncoded("").Header, Body: []byte("json=%zz")},
	} {
		if _, err := read(t, r, apiKey, time.Now()); !refusedWith(err, core.CodeInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadEvent posts anything at all.
func FuzzReadEvent(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	good := posted{kind: "account_confirmed", account: "acc", app: "id", when: epoch(now)}
	for _, r := range []core.EventRequest{inForm("json", good.json()), urlEncoded(good.json()), inForm("json", "{}"), urlEncoded("null"), {}} {
		f.Add(r.Header.Get("Content-Type"), r.Body)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		got, err := read(t, core.EventRequest{Header: http.Header{"Content-Type": {contentType}}, Body: body}, apiKey, now)
		switch {
		case err != nil && !refusedWith(err, core.CodeAccessDenied) && !refusedWith(err, core.CodeInvalidRequest):
			t.Errorf("got %v", err)
		case err == nil && got.Reply != received:
			t.Errorf("reply %q", got.Reply)
		case err == nil && (got.Type == core.VendorEventIgnored) != (got.AccountID == ""):
			t.Errorf("%q is %+v", body, got)
		}
	})
}

// FuzzSignedEvent posts anything that the vendor could sign: it is accepted where its time is in the window, and counts
// where it is a confirmation of ours.
func FuzzSignedEvent(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(int64(0), "account_confirmed", "acc", "id")
	f.Add(int64(-72*3600), "account_confirmed", "acc", "")
	f.Add(int64(3600), "callback_test", "", "")
	f.Add(int64(-1<<40), "signature_request_sent", "acc", "other")
	f.Fuzz(func(t *testing.T, offset int64, kind, account, app string) {
		p := posted{kind: kind, account: account, app: app, when: strconv.FormatInt(now.Unix()+offset%(1<<40), 10)}
		if !utf8.ValidString(kind) || !utf8.ValidString(account) || !utf8.ValidString(app) {
			t.Skip("JSON does not carry this")
		}
		got, err := read(t, inForm("json", p.json()), apiKey, now)
		if offset %= 1 << 40; offset < -73*3600 || offset > 300 {
			if !refusedWith(err, core.CodeAccessDenied) {
				t.Errorf("%+v: %+v, %v", p, got, err)
			}
			return
		}
		counts := kind == "account_confirmed" && account != "" && (app == "" || app == "id")
		if err != nil || got.Reply != received || (got.Type == core.VendorEventAccountConfirmed) != counts || counts && got.AccountID != account {
			t.Errorf("%+v: %+v, %v", p, got, err)
		}
	})
}
