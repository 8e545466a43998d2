package faultproxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// bodyLimit bounds a request's body and a sandbox's answer.
const bodyLimit = 1 << 20

// headerTimeout bounds how long a caller may take over the head of a request.
const headerTimeout = 10 * time.Second

// Config is what a Proxy is made of. Target is required.
type Config struct {
	// Target is the sandbox's URL, such as http://127.0.0.1:41234.
	Target string
	// IsTokenRequest says which requests are to the token endpoint. nil: a POST with "grant_type" in its body.
	IsTokenRequest func(r *http.Request, body []byte) bool
	// Pace is the pause between two bytes of a slow answer. 0: a second.
	Pace time.Duration
}

// Stats counts what came to a Proxy. A connection that never became a request is not counted.
type Stats struct {
	Requests      int // all but those elsewhere
	TokenRequests int // of them to the token endpoint, those that met a fault too
	Faulted       int // of them answered by a fault
	Elsewhere     int // followed redirects to the other host
}

// Proxy is a running proxy. Its methods may be called from many goroutines.
type Proxy struct {
	target    string
	token     func(*http.Request, []byte) bool
	pace      time.Duration
	transport *http.Transport

	url       string
	front     *http.Server
	elsewhere *door
	untrusted *door
	garbled   *door

	stop     chan struct{} // closed by Close: faults that wait are let go
	handlers sync.WaitGroup

	mu      sync.Mutex // guards what follows
	serving *sync.WaitGroup
	ln      net.Listener // nil while connections are refused
	closed  bool
	faults  []Fault
	stats   Stats
	held    map[net.Conn]bool // connections that faults have taken over
}

// Start checks the configuration, listens on the loopback and serves until Close.
func Start(cfg Config) (*Proxy, error) {
	target, err := url.Parse(cfg.Target)
	if err != nil || target.Scheme != "http" || target.Host == "" {
		return nil, errors.New("faultproxy: Config.Target is not a URL of the form http://host:port")
	}
	p := &Proxy{
		target: target.Scheme + "://" + target.Host, token: cfg.IsTokenRequest, pace: cmp.Or(cfg.Pace, time.Second),
		transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		stop:      make(chan struct{}), serving: &sync.WaitGroup{}, held: map[net.Conn]bool{},
	}
	if p.token == nil {
		p.token = func(r *http.Request, body []byte) bool {
			return r.Method == http.MethodPost && bytes.Contains(body, []byte("grant_type"))
		}
	}
	p.front = &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: headerTimeout}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Proxy) open() (err error) {
	if p.elsewhere, err = openElsewhere(p); err != nil {
		return err
	}
	if p.untrusted, err = openUntrusted(); err != nil {
		return err
	}
	if p.garbled, err = openGarbled(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("faultproxy: listen: %w", err)
	}
	p.url = "http://" + ln.Addr().String()
	p.listen(ln)
	return nil
}

// listen serves ln.
func (p *Proxy) listen(ln net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln = ln
	p.serving.Go(func() { _ = p.front.Serve(ln) }) // ends when ln or the server is closed
}

// URL is where the proxy stands for the sandbox.
func (p *Proxy) URL() string { return p.url }

// URLFor is what a client's settings have to name for f to happen: URL, but for faults that TLS is needed for.
func (p *Proxy) URLFor(f Fault) string {
	switch f.way {
	case untrusted:
		return p.untrusted.url
	case garbled:
		return p.garbled.url
	default:
		return p.url
	}
}

// Next lets the next token request go wrong. It adds to what was asked for before. A fault that refuses connections
// begins at once and lasts until [Proxy.Restore]; one that needs TLS is always there, at its [Proxy.URLFor].
func (p *Proxy) Next(f Fault) {
	switch f.way {
	case untrusted, garbled:
	case refused:
		p.refuse()
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = append(p.faults, f)
	}
}

// refuse closes the listener: its port refuses connections.
func (p *Proxy) refuse() {
	p.mu.Lock()
	ln := p.ln
	p.ln = nil
	p.mu.Unlock()
	if ln != nil {
		_ = ln.Close()
		p.serving.Wait()
	}
}

// Restore drops the faults that have not happened, and listens again where connections were refused.
func (p *Proxy) Restore() error {
	p.mu.Lock()
	down := p.ln == nil && !p.closed
	p.faults = nil
	p.mu.Unlock()
	if !down {
		return nil
	}
	ln, err := net.Listen("tcp", p.url[len("http://"):])
	if err != nil {
		return fmt.Errorf("faultproxy: listen again: %w", err)
	}
	p.listen(ln)
	return nil
}

// Stats returns what has been counted.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close ends all connections and waits for those who serve them.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.stop)
	for conn := range p.held {
		_ = conn.Close()
	}
	p.mu.Unlock()
	errs := []error{p.front.Close()}
	for _, d := range []*door{p.elsewhere, p.untrusted, p.garbled} {
		errs = append(errs, d.close())
	}
	p.serving.Wait()
	p.handlers.Wait()
	p.transport.CloseIdleConnections()
	return errors.Join(errs...)
}

// serve forwards a request, or hands its connection to the fault that waits for it.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.handlers.Done()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "faultproxy: the request's body cannot be read", http.StatusBadRequest)
		return
	}
	if fault, ok := p.take(p.token(r, body)); ok {
		p.goWrong(w, r, body, fault)
		return
	}
	a, err := p.forward(r, body)
	if err != nil {
		http.Error(w, "faultproxy: the sandbox does not answer", http.StatusBadGateway)
		return
	}
	header := w.Header()
	for name, values := range a.Header {
		header[name] = values
	}
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.handlers.Add(1)
	p.stats.Requests++
	return true
}

// take counts a request and returns the fault that waits for it.
func (p *Proxy) take(isToken bool) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !isToken {
		return Fault{}, false
	}
	p.stats.TokenRequests++
	if len(p.faults) == 0 {
		return Fault{}, false
	}
	f := p.faults[0]
	p.faults = p.faults[1:]
	p.stats.Faulted++
	return f, true
}

func (p *Proxy) goWrong(w http.ResponseWriter, r *http.Request, body []byte, f Fault) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }() // the fault may have closed it
	_ = conn.SetDeadline(time.Time{})
	if !p.hold(conn) {
		return
	}
	defer p.release(conn)
	f.Respond(&Exchange{Conn: conn, Request: r, Body: body, Elsewhere: p.elsewhere.url, proxy: p})
}

func (p *Proxy) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.held[conn] = true
	return true
}

func (p *Proxy) release(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, conn)
}

// forward lets the sandbox answer, in the proxy's name.
func (p *Proxy) forward(r *http.Request, body []byte) (Answer, error) {
	at := p.target + r.URL.RequestURI()
	out, err := http.NewRequestWithContext(r.Context(), r.Method, at, bytes.NewReader(body)) //nolint:gosec // a proxy goes where it is sent
	if err != nil {
		return Answer{}, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Connection")
	res, err := p.transport.RoundTrip(out)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	if err != nil {
		return Answer{}, err
	}
	res.Header.Del("Connection")
	if location := res.Header.Get("Location"); location != "" {
		res.Header.Set("Location", string(p.renamed([]byte(location))))
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: p.renamed(text)}, nil
}

// renamed puts the proxy's URL where the sandbox's was.
func (p *Proxy) renamed(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(p.target), []byte(p.url))
}
