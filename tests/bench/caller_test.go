//go:build heavy

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// callTask is what a process of callers does: each asks, waits for the answer, and asks again.
type callTask struct {
	URL      string
	Subject  string
	Bodies   []string // of requests, in turn
	Callers  int
	Conns    int
	Duration time.Duration
	// Once ends each caller's work when its share of the bodies was sent, each once; there is no warming up.
	Once bool
	// Every is how often each caller asks. 0: as soon as it was answered.
	Every time.Duration
	// UntilTold ends the work when the process's standard input ends, if Duration is not over by then.
	UntilTold bool
}

// callResult is what it measured.
type callResult struct {
	Count         int
	Errors        int
	Error         string // one of them
	Elapsed       time.Duration
	P50, P99, Max time.Duration
	Bytes         int // of an answer
}

// rate is how many requests were answered in a second.
func (r callResult) rate() float64 { return float64(r.Count) / r.Elapsed.Seconds() }

// run has a process of its own do the task.
func (task callTask) run(t testing.TB) callResult {
	t.Helper()
	return task.begin(t)(false)
}

// begin starts that process. What it returns waits for it, or tells it first to come to an end.
func (task callTask) begin(t testing.TB) (end func(now bool) callResult) {
	t.Helper()
	p := begin(t, "caller", task)
	return func(now bool) (r callResult) {
		t.Helper()
		if now {
			_ = p.in.Close()
		}
		if err := errors.Join(p.out.Decode(&r), p.Wait()); err != nil {
			t.Fatalf("callers: %v", err)
		}
		if r.Errors > 0 {
			t.Errorf("%d of %d requests to %s were not answered: %s", r.Errors, r.Count+r.Errors, task.Subject, r.Error)
		}
		return r
	}
}

// call is the role of a process of callers.
func call(b []byte) error {
	var task callTask
	if err := json.Unmarshal(b, &task); err != nil {
		return err
	}
	conns := make([]*nats.Conn, task.Conns)
	for i := range conns {
		nc, err := nats.Connect(task.URL)
		if err != nil {
			return err
		}
		defer nc.Close()
		conns[i] = nc
	}
	if !task.Once {
		// What was never asked for before is not measured: connections, subscriptions of inboxes, goroutines.
		warm := task
		warm.Duration = min(200*time.Millisecond, task.Duration/4)
		warm.ask(conns, nil)
	}
	told := make(chan struct{})
	if task.UntilTold {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(told)
		}()
	}
	return json.NewEncoder(os.Stdout).Encode(task.ask(conns, told))
}

func (task callTask) ask(conns []*nats.Conn, told <-chan struct{}) callResult {
	var mu sync.Mutex
	var all []time.Duration
	var sum callResult
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range task.Callers {
		wg.Go(func() {
			took, r := task.one(conns[i%len(conns)], i, begun.Add(task.Duration), told)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			sum.Errors += r.Errors
			if r.Error != "" {
				sum.Error = r.Error
			}
			sum.Bytes = max(sum.Bytes, r.Bytes)
		})
	}
	wg.Wait()
	sum.Elapsed, sum.Count = time.Since(begun), len(all)
	slices.Sort(all)
	sum.P50, sum.P99, sum.Max = quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1)
	return sum
}

// one is one caller.
func (task callTask) one(nc *nats.Conn, i int, until time.Time, told <-chan struct{}) (took []time.Duration, r callResult) {
	if task.Every > 0 {
		time.Sleep(rand.N(task.Every))
	}
	step := 1
	if task.Once {
		step = task.Callers
	}
	for next := time.Now(); next.Before(until); i += step {
		if task.Once && i >= len(task.Bodies) || isClosed(told) {
			break
		}
		begun := time.Now()
		m, err := nc.Request(task.Subject, []byte(task.Bodies[i%len(task.Bodies)]), 30*time.Second)
		if err == nil {
			if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
				err = fmt.Errorf("%s: %s", code, m.Data)
			}
		}
		if err != nil {
			r.Errors++
			r.Error = err.Error()
			time.Sleep(10 * time.Millisecond)
		} else {
			took = append(took, time.Since(begun))
			r.Bytes = len(m.Data)
		}
		next = time.Now()
		if task.Every > 0 {
			next = begun.Add(task.Every)
			time.Sleep(time.Until(next))
		}
	}
	return took, r
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// echoTask is what an echo answers with.
type echoTask struct{ Bytes int }

const echoSubject = "echo.api.default.token.get"

// echo is the role of a process with an embedded NATS server and a bare micro service in process, as esignd has them.
func echo(b []byte) error {
	var task echoTask
	if err := json.Unmarshal(b, &task); err != nil {
		return err
	}
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the echo's server does not get ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return err
	}
	defer nc.Close()
	service, err := micro.AddService(nc, micro.Config{Name: "echo", Version: "1.0.0"})
	if err != nil {
		return err
	}
	answer := make([]byte, task.Bytes)
	err = service.AddEndpoint("echo", micro.HandlerFunc(func(r micro.Request) { _ = r.Respond(answer) }), micro.WithEndpointSubject(echoSubject))
	if err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(srv.ClientURL()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
