package control_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/web/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir string, h http.Handler) *control.Server {
	t.Helper()
	s, err := control.New(control.Config{DataDir: dir, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *control.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

type question struct{ Name string }

func hello(_ context.Context, q question) (string, error) {
	if q.Name == "" {
		return "", errors.New("who is it?")
	}
	return "hello " + q.Name, nil
}

func TestCommandsAskTheDaemonOfADataDir(t *testing.T) {
	for name, below := range map[string]string{"short": "", "longer than a socket's": strings.Repeat("long", 40)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), below)
			mux := http.NewServeMux()
			mux.Handle("POST /hello", control.Handle(hello))
			if _, err := control.Call[string](t.Context(), dir, "/hello", question{}); !errors.Is(err, control.ErrNoDaemon) {
				t.Errorf("before the start: %v", err)
			}
			for range 2 { // the second finds the first one's folder
				s := start(t, dir, mux)
				if got, err := control.Call[string](t.Context(), dir, "/hello", question{Name: "there"}); err != nil || got != "hello there" {
					t.Errorf("%q, %v", got, err)
				}
				if _, err := control.Call[string](t.Context(), dir, "/hello", question{}); err == nil || err.Error() != "who is it?" {
					t.Errorf("an error came as %v", err)
				}
				if _, err := control.Call[string](t.Context(), dir, "/other", question{}); err == nil || !strings.Contains(err.Error(), "same release") {
					t.Errorf("an unknown request: %v", err)
				}
				stop(t, s)
			}
			if _, err := control.Call[string](t.Context(), dir, "/hello", question{}); !errors.Is(err, control.ErrNoDaemon) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func TestSocketIsClosedToOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "control"), 0o777); err != nil {
		t.Fatal(err)
	}
	// What a killed daemon left.
	if err := os.WriteFile(filepath.Join(dir, "control", "socket"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, http.NewServeMux())
	defer stop(t, s)
	info, err := os.Stat(filepath.Join(dir, "control"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder is %v: %v", info.Mode(), err)
	}
}

func TestInterruptedCommandEndsWhatItAskedFor(t *testing.T) {
	dir := t.TempDir()
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := start(t, dir, control.Handle(func(ctx context.Context, _ question) (string, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	}))
	defer stop(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := control.Call[string](ctx, dir, "/", question{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the command ended with %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the handler's context ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the handler's context did not end")
	}
}

func TestStreamIsWholeOrSeenToBeBroken(t *testing.T) {
	dir, much := t.TempDir(), strings.Repeat("x", 1<<20)
	mux := http.NewServeMux()
	for path, fails := range map[string]error{"POST /whole": nil, "POST /broken": errors.New("the store is gone")} {
		mux.Handle(path, control.Stream(func(_ context.Context, _ struct{}, w io.Writer) error {
			_, err := io.WriteString(w, much)
			return errors.Join(err, fails)
		}))
	}
	mux.Handle("POST /refused", control.Stream(func(context.Context, struct{}, io.Writer) error { return errors.New("not today") }))
	defer stop(t, start(t, dir, mux))
	var got bytes.Buffer
	if err := control.Copy(t.Context(), dir, "/whole", struct{}{}, &got); err != nil || got.Len() != len(much) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	if err := control.Copy(t.Context(), dir, "/refused", struct{}{}, io.Discard); err == nil || err.Error() != "not today" {
		t.Errorf("a refusal is told as %v", err)
	}
	if err := control.Copy(t.Context(), dir, "/broken", struct{}{}, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that was broken off is told as %v", err)
	}
}
