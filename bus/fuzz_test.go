package bus

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReadInfo compares the reading of what the server says of who asks with that of encoding/json, which writes it.
func FuzzReadInfo(f *testing.F) {
	f.Add("ESIGND_default_billing", "UAKW", "name", "host")
	f.Add(`A","acc":"B`, `x","user":"root`, `\`, `"acc":"C"`)
	f.Add("", "", `{"acc":"X","user":"Y"}`, "\x00")
	f.Fuzz(func(t *testing.T, account, user, name, host string) {
		for _, s := range []string{account, user, name, host} {
			if !utf8.ValidString(s) {
				return // it is changed when it is written
			}
		}
		text, err := json.Marshal(struct {
			Host    string `json:"host,omitempty"`
			Account string `json:"acc"`
			User    string `json:"user,omitempty"`
			Name    string `json:"name,omitempty"`
		}{host, account, user, name})
		if err != nil {
			t.Fatal(err)
		}
		if a, u := readInfo(string(text)); a != account || u != user {
			t.Errorf("%s is read as account %q, user %q", text, a, u)
		}
	})
}

// FuzzForeignInfo reads what no server writes.
func FuzzForeignInfo(f *testing.F) {
	f.Add(`{"acc":"A","user":"B"}`)
	f.Add(`{"acc":"A`)
	f.Add(`"acc":"\`)
	f.Fuzz(func(_ *testing.T, text string) { readInfo(text) })
}

// FuzzIsInbox holds that an answer goes below an inbox and nowhere else.
func FuzzIsInbox(f *testing.F) {
	for _, seed := range []string{"_INBOX.x.1", "_INBOX_default_billing.x", "_INBOX_default_.x", "$KV.ESIGN.grant.g", "_INBOX.*", "_INBOX.>", "_INBOX..x", "esign.audit.daemon"} {
		f.Add(seed, "default")
	}
	f.Fuzz(func(t *testing.T, reply, tenant string) {
		if !isInbox(reply, tenant) {
			return
		}
		first, rest, _ := strings.Cut(reply, ".")
		if first != "_INBOX" && !strings.HasPrefix(first, "_INBOX_"+tenant+"_") || rest == "" || strings.ContainsAny(reply, " \t\r\n") {
			t.Errorf("%q is an inbox of tenant %q", reply, tenant)
		}
		for part := range strings.SplitSeq(rest, ".") {
			if part == "" || part == "*" || part == ">" {
				t.Errorf("%q is an inbox", reply)
			}
		}
	})
}
