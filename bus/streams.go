package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
)

// Names in JetStream. The store's stream has the shape of a NATS key-value bucket, so that NATS tools can read it.
const (
	bucket       = "ESIGN"
	recordStream = "KV_" + bucket
	recordPrefix = "$KV." + bucket + "."
	timerStream  = "ESIGN_TIMERS"
)

const (
	eventAge        = 7 * 24 * time.Hour
	duplicateWindow = 10 * time.Minute
	// noDuplicates is the shortest window there is, for streams whose messages have no ids. For the window by default a server
	// reads at its start all that came in the last two minutes.
	noDuplicates = 100 * time.Millisecond
	maxConsumers = 1024

	// markerTTL is how long the mark of a removed record stays, for a watch that was away meanwhile.
	markerTTL = time.Hour
)

func recordConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        recordStream,
		Description: "esignd: grants, clients and tickets; secrets are sealed",
		Subjects:    []string{recordPrefix + ">"},
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		// With more than one value a key's older one comes back when the newest ends by its TTL.
		MaxMsgsPerSubject:      1,
		Discard:                jetstream.DiscardNew,
		Duplicates:             noDuplicates,
		DenyDelete:             true,
		AllowRollup:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markerTTL,
		// A direct get may be answered by a replica that lags.
		AllowDirect: false,
	}
}

func eventConfig(prefix string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:         wire.EventStream,
		Description:  "esignd: events about the life of tokens",
		Subjects:     []string{prefix + ".event.>"},
		Storage:      jetstream.FileStorage,
		Replicas:     replicas,
		MaxAge:       eventAge,
		Duplicates:   duplicateWindow,
		MaxConsumers: maxConsumers,
		Discard:      jetstream.DiscardOld,
	}
}

func timerConfig(prefix string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        timerStream,
		Description: "esignd: when to look at a grant; derived from the records",
		Subjects:    []string{prefix + ".timer.>"},
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		// A stream's MaxAge would silently end a schedule that is further ahead.
		MaxAge:            0,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardOld,
		Duplicates:        noDuplicates,
		AllowRollup:       true,
		AllowMsgSchedules: true,
	}
}

// embeddedTimerConfig lets timers do without an fsync each: one that is lost is armed again from its record. A stream
// made so never gets more replicas, so it is not for an external server.
func embeddedTimerConfig(prefix string) jetstream.StreamConfig {
	cfg := timerConfig(prefix, 1)
	cfg.PersistMode = jetstream.AsyncPersistMode
	return cfg
}

// ensureStream makes the stream, or brings it up to want.
func (s *session) ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	return insist(ctx, s.cfg.Logger, want.Name, func(ctx context.Context) (jetstream.Stream, error) { return askForStream(ctx, js, want) })
}

func askForStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		if err == nil {
			return s, nil
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another replica was faster, with a config that differs.
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	merged, err := mergeConfig(have, want)
	if err != nil {
		return nil, err
	}
	if reflect.DeepEqual(have, merged) {
		return s, nil
	}
	s, err = js.UpdateStream(ctx, merged)
	if err != nil {
		return nil, fmt.Errorf("update stream %s: %w", want.Name, err)
	}
	return s, nil
}

// mergeConfig returns have with what esignd relies on set as in want. What an operator may have chosen (placement,
// more replicas, republishing, limits of bytes) stays. Where have cannot become what is needed it returns an error.
func mergeConfig(have, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	if !slices.Equal(have.Subjects, want.Subjects) {
		return have, fmt.Errorf("stream %s exists with the subjects %v, not %v: it belongs to an esignd with another "+
			"nats.prefix; use that prefix, or another NATS account", want.Name, have.Subjects, want.Subjects)
	}
	if have.Storage != want.Storage || have.Retention != want.Retention || have.Mirror != nil {
		return have, fmt.Errorf("stream %s exists, but not as a stream of its own on disk with limits retention: it was "+
			"not made by esignd; back it up and remove it, or use another NATS account", want.Name)
	}
	merged := have
	merged.Replicas = max(have.Replicas, want.Replicas)
	merged.MaxAge = want.MaxAge
	if want.Duplicates != 0 {
		merged.Duplicates = want.Duplicates
	}
	if want.MaxMsgsPerSubject != 0 {
		merged.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	}
	if want.MaxBytes != 0 {
		merged.MaxBytes = want.MaxBytes
	}
	merged.DenyDelete = have.DenyDelete || want.DenyDelete
	merged.DenyPurge = have.DenyPurge || want.DenyPurge
	merged.Discard = want.Discard
	merged.AllowDirect = want.AllowDirect
	merged.AllowRollup = have.AllowRollup || want.AllowRollup
	merged.AllowMsgTTL = have.AllowMsgTTL || want.AllowMsgTTL
	merged.AllowMsgSchedules = have.AllowMsgSchedules || want.AllowMsgSchedules
	merged.SubjectDeleteMarkerTTL = want.SubjectDeleteMarkerTTL
	return merged, nil
}
