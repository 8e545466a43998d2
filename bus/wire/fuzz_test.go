package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// plain reports whether s can stand in a subject as one token.
func plain(s string) bool { return s != "" && !strings.ContainsAny(s, ".*> \t\r\n\x00") }

func FuzzTenantOf(f *testing.F) {
	for _, seed := range []string{
		"esign.api.default.token.get", "esign.api..token.get", "esign.api.a.b.token.get", "esign.api.*.token.get", "esign.api.token.get",
		"esign.api.é.token.get", "other.api.default.token.get", "esign.api.default.token.get.x", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		for _, e := range wire.Endpoints() {
			tenant, err := wire.TenantOf(wire.DefaultPrefix, e, subject)
			if err != nil {
				continue
			}
			if !plain(tenant) || wire.APISubject(wire.DefaultPrefix, tenant, e) != subject {
				t.Errorf("%q is read as tenant %q of %s", subject, tenant, e)
			}
		}
	})
}

func FuzzParseEventSubject(f *testing.F) {
	for _, seed := range []string{"esign.event.t.token.issued.v.g_1", "esign.event.t.token.issued.v._", "esign.event.....", "esign.event.t.a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		n, err := wire.ParseEventSubject(wire.DefaultPrefix, subject)
		if err != nil {
			return
		}
		// What is no name of ours is refused where a subject is made of it.
		again, err := wire.EventSubject(wire.DefaultPrefix, core.Event{Tenant: n.Tenant, Type: n.Type, Vendor: n.Vendor, Grant: n.Grant})
		if err == nil && again != subject && !strings.HasSuffix(subject, ".") {
			t.Errorf("%q is read as %+v, whose subject is %q", subject, n, again)
		}
	})
}

func FuzzParseAuditSubject(f *testing.F) {
	for _, seed := range []string{"esign.audit.tenant.default", "esign.audit.daemon", "esign.audit.tenant.daemon", "esign.audit.tenant.", "esign.audit.tenant.a.b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		tenant, err := wire.ParseAuditSubject(wire.DefaultPrefix, subject)
		if err == nil && (wire.AuditSubject(wire.DefaultPrefix, tenant) != subject || tenant != "" && !plain(tenant)) {
			t.Errorf("%q is read as tenant %q", subject, tenant)
		}
	})
}

func FuzzDecodeAudit(f *testing.F) {
	whole, err := json.Marshal(wire.Audit{Entries: []wire.AuditEntry{fullEntry()}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(whole), string(whole[:40]), "", "null", "{}", `{"entries":[]}`, `{"entries":[null]}`, `{"entries":[{"id":1}]}`, `{"entries":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, err := wire.DecodeAudit(body)
		if err != nil {
			if entries != nil {
				t.Error("entries come with an error")
			}
			return
		}
		again, err := json.Marshal(wire.Audit{Entries: entries})
		if err != nil {
			return // a year that cannot be written
		}
		if _, err := wire.DecodeAudit(again); err != nil {
			t.Errorf("what was read cannot be read again: %v\n%s", err, again)
		}
	})
}

// FuzzHeader reads and writes what a caller may put into the headers of a request.
func FuzzHeader(f *testing.F) {
	f.Add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "TraceParent")
	f.Add("", "", "")
	f.Add("Esignd-Seal-To", "X\r\nInjected: yes", "esignd-seal-to")
	f.Fuzz(func(t *testing.T, name, value, key string) {
		h := wire.Header{name: {value}, "empty": {}, "nil": nil}
		if got := h.Get(key); got != "" && !strings.EqualFold(name, key) {
			t.Errorf("%q has %q, which is of %q", key, got, name)
		}
		h.Set(key, value)
		if got := h.Get(key); got != value {
			t.Errorf("%q was set to %q and is %q", key, value, got)
		}
		_, _ = wire.SealTo(h)
		if e := wire.DecodeError(h, []byte(value)); e != nil && !strings.EqualFold(name, wire.HeaderErrorCode) && !strings.EqualFold(key, wire.HeaderErrorCode) {
			t.Errorf("an error without its header: %v", e)
		}
	})
}

// FuzzEncodeError holds that no header of an answer begins another.
func FuzzEncodeError(f *testing.F) {
	f.Add("not_found", "a\r\nNats-Msg-Id: x", "r", int64(time.Second))
	f.Fuzz(func(t *testing.T, code, description, reason string, retry int64) {
		e := &core.Error{Code: core.Code(code), Description: description, Reason: reason, RetryAfter: time.Duration(retry)}
		headers, body := wire.EncodeError(e)
		if strings.ContainsAny(headers[wire.HeaderError], "\r\n\x00") {
			t.Errorf("header %q", headers[wire.HeaderError])
		}
		if !json.Valid(body) {
			t.Errorf("body %q", body)
		}
	})
}
