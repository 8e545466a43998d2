package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLostRequestOfTheStartIsMadeAgain(t *testing.T) {
	t.Parallel()
	// answers is how long each request takes to be answered; forever stands for one that is lost.
	const forever = time.Hour
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		answers []time.Duration
		err     error // of the last answer
		endless bool  // the start has no deadline
		took    time.Duration
		want    error
	}{
		"answered":                {answers: []time.Duration{time.Second}, took: time.Second},
		"lost once":               {answers: []time.Duration{forever, time.Second}, took: requestTimeout + time.Second},
		"slower each time":        {answers: []time.Duration{6 * time.Second, 9 * time.Second}, took: requestTimeout + 9*time.Second},
		"slower than the first":   {answers: []time.Duration{forever, forever, 19 * time.Second}, took: 3*requestTimeout + 19*time.Second},
		"refused":                 {answers: []time.Duration{time.Second}, err: refused, took: time.Second, want: refused},
		"never, and nobody minds": {answers: []time.Duration{forever, forever, forever, forever}, endless: true, took: 15 * requestTimeout, want: context.DeadlineExceeded},
		"never":                   {answers: []time.Duration{forever, forever, forever, forever}, took: time.Minute, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if !tt.endless {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Minute)
					defer cancel()
				}
				began, n := time.Now(), 0
				var log bytes.Buffer
				got, err := insist(ctx, slog.New(slog.NewTextHandler(&log, nil)), recordStream, func(ctx context.Context) (int, error) {
					n++
					select {
					case <-ctx.Done():
						return 0, ctx.Err()
					case <-time.After(tt.answers[n-1]):
						return n, tt.err
					}
				})
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.took || n != len(tt.answers) || err == nil && got != n {
					t.Errorf("answer %d and %v after %s and %d requests, want %v after %s and %d", got, err, took, n, tt.want, tt.took, len(tt.answers))
				}
				if told := strings.Count(log.String(), "level=WARN"); told != n-1 || told > 0 && !strings.Contains(log.String(), "stream="+recordStream) {
					t.Errorf("%d requests, and the operator is told %q", n, log.String())
				}
			})
		})
	}
}
