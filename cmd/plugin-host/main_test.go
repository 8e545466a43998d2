package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/sdk"
)

// TestMain makes the test binary plugin-host and the plugins too, where it is started under their names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"plugin-host":               main,
		"esignd-plugin-adobesign":   func() { sdk.Serve(adobesign.New(adobesign.Config{})) },
		"esignd-plugin-dropboxsign": func() { sdk.Serve(dropboxsign.New(dropboxsign.Config{})) },
		"esignd-plugin-esignglobal": func() { sdk.Serve(esignglobal.New(esignglobal.Config{})) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               showPlugins,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor":   waitFor,
			"consent":   giveConsent,
			"setmember": setMember,
			"expand":    expand,
			"event":     writeEvent,
		},
	})
}

// showPlugins sets PLUGINS to the folder of the plugins, and takes from others the right to write there.
func showPlugins(env *testscript.Env) error {
	self, err := exec.LookPath("plugin-host")
	if err != nil {
		return err
	}
	dir := filepath.Dir(self)
	env.Setenv("PLUGINS", dir)
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, path := range append(files, dir) {
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(env.WorkDir, 0o755)
}

// waitFor waits until a file has a line with the text: `waitfor file text`.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not have %q", args[0], args[1])
}

// giveConsent accepts the consent page whose URL a JSON answer has, and sets CODE: `consent file`.
func giveConsent(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	back, err := consent.Consent(ctx, http.DefaultClient, member(ts, args[0], "url"), true)
	ts.Check(err)
	ts.Setenv("CODE", back.Query().Get("code"))
}

// setMember sets a variable to a member of a JSON answer: `setmember variable file member`.
func setMember(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], member(ts, args[1], args[2]))
}

func member(ts *testscript.TestScript, file, name string) string {
	var answer map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &answer))
	value, ok := answer[name].(string)
	if !ok {
		ts.Fatalf("%s has no %q", file, name)
	}
	return value
}

// expand writes a copy of a file in which variables have their values: `expand from to`.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// writeEvent writes a request to read the event that Dropbox Sign sends when an account was confirmed, signed with a key:
// `event file account key`.
func writeEvent(ts *testscript.TestScript, _ bool, args []string) {
	const apiKey, kind = "sandbox-dropboxsign-api-key", "account_confirmed"
	now := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(args[2]))
	_, err := io.WriteString(mac, now+kind)
	ts.Check(err)
	event, err := json.Marshal(map[string]any{
		"event":   map[string]any{"event_time": now, "event_type": kind, "event_hash": hex.EncodeToString(mac.Sum(nil))},
		"account": map[string]any{"account_id": args[1]},
	})
	ts.Check(err)
	request, err := json.Marshal(map[string]any{
		"client": map[string]any{"client_id": "sandbox-dropboxsign-client", "secret_settings": map[string]string{"api_key": apiKey}},
		"header": map[string]string{"content-type": "application/x-www-form-urlencoded"},
		"body":   url.Values{"json": {string(event)}}.Encode(),
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), request, 0o600))
}

func TestRequestErrorsDoNotQuoteSecrets(t *testing.T) {
	for _, text := range []string{
		`{"refresh_token": 4711471147114711}`, `{"refresh_token": ["CANARY"]}`, `{"client": {"client_secret": {"a": "CANARY"}}}`, `{"code": CANARY}`,
		`{"code": "CANARY`, `{"client": {"secret_settings": {"api_key": {"CANARY": 1}}}}`, `{} {"code": "CANARY"}`,
	} {
		var r tokenRequest
		err := readRequest(strings.NewReader(text), &r)
		if err == nil || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: got %v", text, err)
		}
		if s := fmt.Sprintf("%+v", r); strings.Contains(s, "CANARY") {
			t.Errorf("the request prints as %s", s)
		}
	}
}
