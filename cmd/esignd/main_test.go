package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/esignd/esignd/bus/tlsfiles/tlstest"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/sdk"
	"github.com/esignd/esignd/tests/system"
)

// TestMain makes the test binary esignd and the plugins too, where it is started under their names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"esignd":                    main,
		"esignd-plugin-adobesign":   func() { sdk.Serve(adobesign.New(adobesign.Config{})) },
		"esignd-plugin-dropboxsign": func() { sdk.Serve(dropboxsign.New(dropboxsign.Config{})) },
		"esignd-plugin-esignglobal": func() { sdk.Serve(esignglobal.New(esignglobal.Config{})) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    status,
			"waitfor":   waitFor,
			"browse":    browse,
			"json":      checkJSON,
			"freeports": freePorts(t),
			"issue":     issuer(t),
		},
	})
}

// setUp sets PLUGINS to the folder of the plugins, and takes from others the right to write there.
func setUp(env *testscript.Env) error {
	self, err := exec.LookPath("esignd")
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

// status runs a program that is to end with a status: `status 2 program args...`.
func status(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%v ended with status %d, want %s", args[1:], got, args[0])
	}
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

// freePorts returns a command that sets variables to addresses on which nothing listens: `freeports NAME...`.
func freePorts(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, names []string) {
		for _, name := range names {
			ts.Setenv(name, system.FreeAddress(t))
		}
	}
}

// issuer returns a command that makes certificates: `issue dir name...` signs dir/name.pem, with its key, for the subject
// CN=name, by the authority of the folder, dir/ca.pem, which it makes the first time. One after -over has ended.
func issuer(t *testing.T) func(*testscript.TestScript, bool, []string) {
	var authorities sync.Map // by folder; scripts run side by side
	return func(ts *testscript.TestScript, _ bool, args []string) {
		dir := ts.MkAbs(args[0])
		ts.Check(os.MkdirAll(dir, 0o700))
		one, there := authorities.Load(dir)
		if !there {
			one = tlstest.New(t, dir, "ca")
			authorities.Store(dir, one)
		}
		over := false
		for _, name := range args[1:] {
			if name == "-over" {
				over = true
				continue
			}
			one.(*tlstest.Authority).Issue(name, func(c *x509.Certificate) {
				if over {
					c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
				}
			})
		}
	}
}

// browse goes through the connect flow as the account's owner does with a browser: `browse file account`. The file
// holds the URL.
func browse(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := visit(ctx, browser, strings.TrimSpace(ts.ReadFile(args[0])), http.StatusSeeOther)
	ts.Check(err)
	back, err := consent.As(ctx, browser, page, args[1], true)
	ts.Check(err)
	_, err = visit(ctx, browser, back.String(), http.StatusSeeOther)
	ts.Check(err)
}

// checkJSON checks members of the one JSON object in a file: `json file path=value...`, with [n] in a path for an item
// of a list. A value of * is any but an empty one.
func checkJSON(ts *testscript.TestScript, _ bool, args []string) {
	var doc any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(d.Decode(&doc))
	if d.More() {
		ts.Fatalf("%s holds more than one document", args[0])
	}
	for _, want := range args[1:] {
		path, value, _ := strings.Cut(want, "=")
		got := fmt.Sprint(member(doc, path))
		if got != value && (value != "*" || got == "" || got == "<nil>") {
			ts.Fatalf("%s: %s is %q, want %q", args[0], path, got, value)
		}
	}
}

func member(doc any, path string) any {
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(v) {
				return nil
			}
			doc = v[i]
		default:
			return nil
		}
	}
	return doc
}
