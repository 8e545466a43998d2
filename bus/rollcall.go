package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// rollCallQuiet ends a roll call once nobody has answered for so long.
	rollCallQuiet = 500 * time.Millisecond
	// agreeWithin is for how long replicas may disagree, and silentFor for how long one may be silent that has answered
	// before: it has stopped then, and reads the keyset when it starts.
	agreeWithin = 30 * time.Second
	silentFor   = 10 * time.Second
	agreePause  = 200 * time.Millisecond
)

func (r KeyReplica) knows(id uint32) bool { return slices.Contains(r.Keys, id) }

// rollCallSubject is where replicas ask each other to read the keyset again and to tell what they know.
func rollCallSubject(prefix string) string { return prefix + ".keys" }

// answerRollCalls lets other replicas ask this one. With the embedded server there are none.
func (s *session) answerRollCalls() error {
	if s.server != nil {
		return nil
	}
	_, err := s.state.Subscribe(rollCallSubject(s.cfg.Prefix), func(m *nats.Msg) {
		// Whoever asks chooses the reply subject; one that is no inbox would have us write where it leads.
		if !isInbox(m.Reply, "") {
			return
		}
		body, err := json.Marshal(s.report())
		if err == nil {
			err = m.Respond(body)
		}
		if err != nil {
			s.cfg.Logger.Warn("another replica asked which keys are known here, and could not be answered; a rotation does not know of this one, and is to be run again", "error", err)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to what other replicas ask: %w", err)
	}
	return nil
}

// report reads the keyset again and tells what is known here.
func (s *session) report() KeyReplica {
	r := KeyReplica{Owner: s.dir.owner}
	r.Host, _ = os.Hostname()
	ctx, cancel := context.WithTimeout(context.Background(), reloadTimeout) // of the one who asks there is none
	defer cancel()
	if err := s.keys.reload(ctx); err != nil {
		r.Error = err.Error()
	}
	keys := s.keys.now.Load()
	r.Primary, r.Keys = keys.primary, keys.ids
	var err error
	if r.Spooled, err = s.spooledKeys(); err != nil {
		r.Error = err.Error()
	}
	return r
}

// spooledKeys counts what waits in the spool by key.
func (s *session) spooledKeys() (map[uint32]int, error) {
	paths, err := s.dir.spooled()
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	counts := map[uint32]int{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it is written to the store by now
		}
		if err != nil {
			return nil, fmt.Errorf("read the spool: %w", err)
		}
		f, _ := readSpoolFile(b)
		e, err := readEnvelope(f.Key, f.Value)
		if id, ok := keyOf(e.Sealed); ok && err == nil {
			counts[id]++
		}
	}
	return counts, nil
}

// rollCall asks all replicas to read the keyset again and returns what they know, in the order of their owners.
func (s *session) rollCall(ctx context.Context) ([]KeyReplica, error) {
	if s.server != nil {
		return []KeyReplica{s.report()}, nil
	}
	inbox := nats.NewInbox()
	sub, err := s.state.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the replicas for their keys: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	subject := rollCallSubject(s.cfg.Prefix)
	if err := s.state.PublishRequest(subject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask the replicas for their keys: %w", err)
	}
	found := map[string]KeyReplica{}
	for {
		_, own := found[s.dir.owner]
		wait := requestTimeout
		if own {
			wait = rollCallQuiet
		}
		m, err := nextWithin(ctx, sub, wait)
		switch {
		case err == nil:
			var r KeyReplica
			if json.Unmarshal(m.Data, &r) == nil && r.Owner != "" {
				found[r.Owner] = r
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !own:
			return nil, fmt.Errorf("ask the replicas for their keys: nobody answers on %s, not even this one: "+
				"let esignd's NATS user publish and subscribe there: %w", subject, err)
		default:
			return slices.SortedFunc(maps.Values(found), func(a, b KeyReplica) int { return strings.Compare(a.Owner, b.Owner) }), nil
		}
	}
}

// nextWithin returns the next message that comes within a time.
func nextWithin(ctx context.Context, sub *nats.Subscription, within time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// fleet is the replicas that were heard from while the keys are being changed.
type fleet struct {
	*session
	heard map[string]heardReplica // by owner
}

type heardReplica struct {
	KeyReplica
	at time.Time
}

func newFleet(s *session) *fleet { return &fleet{session: s, heard: map[string]heardReplica{}} }

// agree asks the replicas until all do what is wanted. One that has answered before and falls silent is waited for a
// while.
func (f *fleet) agree(ctx context.Context, what string, does func(KeyReplica) bool) error {
	ctx, cancel := context.WithTimeout(ctx, agreeWithin)
	defer cancel()
	var missing []string
	for {
		replicas, err := f.rollCall(ctx)
		switch {
		case ctx.Err() != nil && len(missing) > 0:
			return fmt.Errorf("not every replica %s: %s", what, strings.Join(missing, "; "))
		case err != nil:
			return err
		}
		for _, r := range replicas {
			f.heard[r.Owner] = heardReplica{KeyReplica: r, at: time.Now()}
		}
		if missing = f.missing(replicas, does); len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(agreePause):
		}
	}
}

// missing describes the replicas for which there is to be waited.
func (f *fleet) missing(answered []KeyReplica, does func(KeyReplica) bool) []string {
	var missing []string
	for _, r := range answered {
		if !does(r) {
			missing = append(missing, strings.TrimSuffix(r.Owner+" on "+r.Host+": "+r.Error, ": "))
		}
	}
	for owner, r := range f.heard {
		silent := !slices.ContainsFunc(answered, func(a KeyReplica) bool { return a.Owner == owner })
		if silent && time.Since(r.at) < silentFor {
			missing = append(missing, owner+" on "+r.Host+" is silent")
		}
	}
	return missing
}
