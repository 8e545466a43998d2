package bus

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// BenchmarkAudit asks for a token from memory, with so many requests on their way, without the audit and with it. The
// embedded server syncs each message of the audit to the disk. `ratio` compares the two of one run.
func BenchmarkAudit(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("inflight=%d", callers), func(b *testing.B) {
			var took [2]time.Duration
			for i, on := range []bool{false, true} {
				took[i] = askAll(b, on, callers)
			}
			b.ReportMetric(float64(took[0].Nanoseconds())/float64(b.N), "off-ns/op")
			b.ReportMetric(float64(took[1].Nanoseconds())/float64(b.N), "on-ns/op")
			b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// askAll asks b.N times and returns how long that took.
func askAll(b *testing.B, audit bool, inflight int) time.Duration {
	b.StopTimer()
	cfg := embeddedConfig(b.TempDir())
	cfg.Audit.Enabled = audit
	d := startDaemon(b, openBus(b, cfg), nil)
	grant := d.seed(b, "default", "alice").Grant
	nc := dialOutside(b, d.Bus)
	inbox := nats.NewInbox()
	free := make(chan error, inflight)
	sub, err := nc.Subscribe(inbox, func(m *nats.Msg) {
		if m.Header.Get("Nats-Service-Error-Code") != "" {
			free <- errors.New(string(m.Data))
			return
		}
		free <- nil
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	body := []byte(fmt.Sprintf(`{"grant":%q}`, grant))
	for range inflight {
		free <- nil
	}
	b.StartTimer()
	began := time.Now()
	for range b.N {
		if err := <-free; err != nil {
			b.Fatal(err)
		}
		if err := nc.PublishRequest("esign.api.default.token.get", inbox, body); err != nil {
			b.Fatal(err)
		}
	}
	for range inflight {
		if err := <-free; err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(began)
	b.StopTimer()
	return took
}
