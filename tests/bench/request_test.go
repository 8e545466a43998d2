//go:build heavy

package bench

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// requestResult compares token.get with a bare echo, for a number of callers.
type requestResult struct {
	Callers, Conns int
	Rate, EchoRate float64
	P50, P99       time.Duration
	EchoP50        time.Duration
	EchoP99        time.Duration
	// RateRatio and TailRatio are the medians of the rounds' ratios, of throughput and of the 99th percentile.
	RateRatio, TailRatio float64
}

const (
	tokenSubject   = "esign.api." + tenant + ".token.get"
	refreshSubject = "esign.api." + tenant + ".token.refresh"
)

// bodies are the requests for the first n grants of a kind.
func bodies(kind string, n int) []string {
	list := make([]string, n)
	for i := range list {
		b, _ := json.Marshal(map[string]string{"client": clientName, "account": accountName(kind, i)})
		list[i] = string(b)
	}
	return list
}

// measureRequests asks for live tokens over TCP from another process, in turn with an echo that takes and gives as many
// bytes.
func measureRequests(t testing.TB, s sizes) []requestResult {
	const grants = 100
	v := startVendor(t, 0, 24*time.Hour)
	d := newDaemon(t, v)
	sow(t, d, v, crop{kind: "live", n: grants, lifetime: 24 * time.Hour})
	d.Start()
	task := callTask{URL: d.NATSURL(), Subject: tokenSubject, Bodies: bodies("live", grants), Callers: 1, Conns: 1, Duration: s.slice}
	answer := task.run(t)
	bare := task
	bare.URL, bare.Subject = serve(t, "echo", echoTask{Bytes: answer.Bytes}), echoSubject
	var list []requestResult
	for _, callers := range s.callers {
		conns := []int{1}
		if callers > 1 {
			conns = append(conns, callers)
		}
		for _, n := range conns {
			task.Callers, bare.Callers, task.Conns, bare.Conns = callers, callers, n, n
			list = append(list, against(t, task, bare, s.rounds))
		}
	}
	d.Stop()
	return list
}

// against measures callers of esignd and of the echo in turn.
func against(t testing.TB, task, bare callTask, rounds int) requestResult {
	var rates, tails, echoRates, p50, p99, echoP50, echoP99, ownRates []float64
	for i := range rounds {
		var own, other callResult
		if i%2 == 0 { // neither is always the first
			own, other = task.run(t), bare.run(t)
		} else {
			other, own = bare.run(t), task.run(t)
		}
		rates = append(rates, own.rate()/other.rate())
		tails = append(tails, float64(own.P99)/float64(other.P99))
		ownRates, echoRates = append(ownRates, own.rate()), append(echoRates, other.rate())
		p50, p99 = append(p50, float64(own.P50)), append(p99, float64(own.P99))
		echoP50, echoP99 = append(echoP50, float64(other.P50)), append(echoP99, float64(other.P99))
	}
	r := requestResult{
		Callers: task.Callers, Conns: task.Conns, Rate: median(ownRates), EchoRate: median(echoRates),
		P50: time.Duration(median(p50)), P99: time.Duration(median(p99)), EchoP50: time.Duration(median(echoP50)),
		EchoP99: time.Duration(median(echoP99)), RateRatio: median(rates), TailRatio: median(tails),
	}
	t.Logf("token.get, %d callers on %d connections: %.0f/s of %.0f/s (%.2f), p99 %s of %s (%.2f)",
		r.Callers, r.Conns, r.Rate, r.EchoRate, r.RateRatio, r.P99, r.EchoP99, r.TailRatio)
	return r
}

// noQuota holds nobody up: all callers here count as one.
const noQuota = 10_000_000

// newDaemon sets up a daemon with a client at the vendor and starts nothing.
func newDaemon(t testing.TB, v *vendor) *system.Daemon {
	t.Helper()
	d := system.NewDaemon(t, system.Options{
		Binaries: binaries, Clients: []system.Registration{v.registration()},
		Env: []string{fmt.Sprintf("ESIGND_NATS_QUOTA_PER_SECOND=%d", noQuota)},
	})
	t.Cleanup(func() {
		if d.Running() {
			d.Stop()
		}
	})
	return d
}
