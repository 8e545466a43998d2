//go:build heavy

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// events reads the whole stream, each event once. It fails while the servers that are left have not shared out the work of one
// that is dead.
func events(ctx context.Context, js jetstream.JetStream) ([]told, error) {
	stream, err := js.Stream(ctx, wire.EventStream)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	var list []told
	seen := map[string]bool{}
	for left := stream.CachedInfo().State.Msgs; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, err
		}
		before := left
		for m := range batch.Messages() {
			left--
			var e told
			if err := json.Unmarshal(m.Data(), &e); err != nil {
				return nil, err
			}
			if !seen[e.ID] {
				seen[e.ID] = true
				list = append(list, e)
			}
		}
		if left == before {
			return nil, errors.Join(fmt.Errorf("%d events are not delivered", left), batch.Error())
		}
	}
	return list, nil
}

// judgeEvents holds that each transition was told by one event.
func (s *storm) judgeEvents(js jetstream.JetStream) {
	s.t.Helper()
	issued, ended := map[string]int{}, map[string]int{}
	system.Await(s.t, 2*time.Minute, "each refresh is told", func() bool {
		clear(issued)
		clear(ended)
		list, err := events(s.t.Context(), js)
		if err != nil {
			s.t.Logf("read the events: %v", err)
			return false
		}
		for _, e := range list {
			switch {
			case e.Type == core.TokenIssued && e.Data.Generation == 2:
				issued[e.Data.Account]++
			case e.Type == core.GrantReauthorizationRequired:
				ended[e.Data.Account]++
			}
		}
		return len(issued)+len(ended) >= s.size
	})
	overtaken := s.overtaken()
	for n := range s.size {
		a := account(n)
		if both := issued[a] == 1 && ended[a] == 1; issued[a]+ended[a] != 1 && (!both || !overtaken[a]) {
			s.t.Errorf("of %s %d refreshes and %d ends were told", a, issued[a], ended[a])
		}
	}
}
