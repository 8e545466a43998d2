package esignd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/fx"
)

func TestPartThatDoesNotStopIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, others := make(chan struct{}), 0
		l := &life{}
		l.Append(fx.Hook{OnStop: func(context.Context) error { <-hang; return nil }})
		l.Append(fx.Hook{OnStop: func(context.Context) error { others++; return nil }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := l.stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
		synctest.Wait()
		if took := time.Since(begun); took != time.Second+stopGrace || others != 1 {
			t.Errorf("it took %v, and %d others were stopped", took, others)
		}
		close(hang)
		if err := l.stop(t.Context()); err != nil {
			t.Errorf("the second to stop, after the part has: %v", err)
		}
	})
}
