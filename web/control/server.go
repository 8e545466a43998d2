package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config is what a Server is made of. DataDir and Handler are required.
type Config struct {
	// DataDir is the folder whose lock this process holds from Start to Close.
	DataDir string
	// Handler answers.
	Handler http.Handler
	// Logger gets what an operator should know. nil: slog.Default.
	Logger *slog.Logger
}

// Server answers the commands of this machine.
type Server struct {
	cfg  Config
	http *http.Server
	done sync.WaitGroup
}

// New checks cfg and returns a Server. It does no I/O.
func New(cfg Config) (*Server, error) {
	if cfg.DataDir == "" || cfg.Handler == nil {
		return nil, errors.New("control: Config.DataDir and Handler are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Server{cfg: cfg, http: &http.Server{
		Handler:           cfg.Handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}}, nil
}

// Start opens the socket. A Server is started once.
func (s *Server) Start(ctx context.Context) error {
	l, err := listen(ctx, s.cfg.DataDir)
	if err != nil {
		return err
	}
	s.done.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.ErrorContext(ctx, "the control socket is closed; commands are not answered until esignd is restarted", "error", err)
		}
	})
	return nil
}

// Close takes no more requests and waits for those that are being answered; when ctx ends, their contexts end.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	_ = os.Remove(filepath.Join(s.cfg.DataDir, folder, socket)) // a start does so too
	return err
}

// maxRequest bounds a request of Handle, in bytes.
const maxRequest = 1 << 20

// Handle returns a handler that reads a request as JSON and answers what fn returns.
func Handle[In, Out any](fn func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, ok := read[In](w, r)
		if !ok {
			return
		}
		out, err := fn(r.Context(), in)
		if err != nil {
			answer(w, http.StatusInternalServerError, failure{Error: err.Error()})
			return
		}
		answer(w, http.StatusOK, out)
	})
}

// read reads a request, and answers one that cannot be read.
func read[In any](w http.ResponseWriter, r *http.Request) (in In, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, failure{Error: "the request cannot be read; are the command and the daemon of one release?"})
		return in, false
	}
	return in, true
}

// streamStall is for how long who asked for a stream may take nothing of it.
const streamStall = 30 * time.Second

// Stream returns a handler that reads a request as JSON and answers with what fn writes, which can be flushed (Flush() error). An error after the first byte breaks the answer off, so that
// who asked does not take it for whole.
func Stream[In any](fn func(context.Context, In, io.Writer) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, ok := read[In](w, r)
		if !ok {
			return
		}
		out := &stream{to: w, rc: http.NewResponseController(w)}
		err := fn(r.Context(), in, out)
		switch {
		case err != nil && out.begun:
			panic(http.ErrAbortHandler) // net/http's way to cut an answer short
		case err != nil:
			answer(w, http.StatusInternalServerError, failure{Error: err.Error()})
		}
	})
}

// stream is an answer of which each part is taken in time.
type stream struct {
	to    http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (s *stream) Write(p []byte) (int, error) {
	if err := s.rc.SetWriteDeadline(time.Now().Add(streamStall)); err != nil {
		return 0, err
	}
	s.begun = true
	return s.to.Write(p)
}

// Flush sends what was written so far.
func (s *stream) Flush() error { return s.rc.Flush() }

// failure is the body of an answer that is none.
type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}

// Client returns an HTTP client for the daemon on a data_dir; a URL's host is not read.
func Client(dataDir string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, dataDir) },
	}}
}

// Call asks the daemon on a data_dir for what it answers by Handle at a path, until ctx ends.
func Call[Out any](ctx context.Context, dataDir, path string, in any) (Out, error) {
	var out, none Out
	body, err := ask(ctx, dataDir, path, in)
	if err != nil {
		return none, err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return none, fmt.Errorf("read the answer of the esignd on %s: %w", dataDir, err)
	}
	return out, nil
}

// Copy writes what the daemon on a data_dir answers by Stream to a request at a path to w.
func Copy(ctx context.Context, dataDir, path string, in any, w io.Writer) error {
	body, err := ask(ctx, dataDir, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("take the answer of the esignd on %s: %w", dataDir, err)
	}
	return nil
}

// ask returns the body of an answer that is one.
func ask(ctx context.Context, dataDir, path string, in any) (io.ReadCloser, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://esignd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := Client(dataDir).Do(req)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the URL, which is not one that anybody knows
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var f failure
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("the esignd on %s does not know this request (%s); is it of the same release?", dataDir, resp.Status)
	}
	return nil, errors.New(f.Error)
}
