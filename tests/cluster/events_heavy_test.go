//go:build heavy

package cluster

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// told is an event as the stream has it.
type told struct {
	ID   string         `json:"id"`
	Type core.EventType `json:"type"`
	Data struct {
		Account    string `json:"account"`
		Generation uint64 `json:"generation"`
		Reason     string `json:"reason"`
	} `json:"data"`
}

// events reads the whole stream, each event once.
func events(t testing.TB, js jetstream.JetStream) []told {
	t.Helper()
	stream := system.Must(js.Stream(t.Context(), wire.EventStream))(t)
	left := stream.CachedInfo().State.Msgs
	consumer := system.Must(stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{}))(t)
	var list []told
	seen := map[string]bool{}
	for left > 0 {
		batch := system.Must(consumer.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(20*time.Second)))(t)
		got := uint64(0)
		for m := range batch.Messages() {
			got++
			var e told
			if err := json.Unmarshal(m.Data(), &e); err != nil {
				t.Fatal(err)
			}
			if !seen[e.ID] {
				seen[e.ID] = true
				list = append(list, e)
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, jetstream.ErrNoMessages) || got == 0 {
			t.Fatalf("%d events are not delivered: %v", left, err)
		}
		left -= got
	}
	return list
}

// judgeEvents holds that each transition was told by one event.
func (s *storm) judgeEvents(js jetstream.JetStream) {
	s.t.Helper()
	issued, ended := map[string]int{}, map[string]int{}
	system.Await(s.t, time.Minute, "each refresh is told", func() bool {
		clear(issued)
		clear(ended)
		for _, e := range events(s.t, js) {
			switch {
			case e.Type == core.TokenIssued && e.Data.Generation == 2:
				issued[e.Data.Account]++
			case e.Type == core.GrantReauthorizationRequired:
				ended[e.Data.Account]++
			}
		}
		return len(issued)+len(ended) >= s.size
	})
	for n := range s.size {
		if a := account(n); issued[a]+ended[a] != 1 {
			s.t.Errorf("of %s %d refreshes and %d ends were told", a, issued[a], ended[a])
		}
	}
}
