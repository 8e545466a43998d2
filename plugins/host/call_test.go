package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswerCountsShortlyAfterTheTimeOfItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waiting, stop := patient(ctx)
		defer stop()
		want, _ := ctx.Deadline()
		if got, ok := waiting.Deadline(); !ok || !got.Equal(want) {
			t.Errorf("the plugin is told %v, want %v", got, want)
		}
		<-ctx.Done()
		time.Sleep(patience - time.Millisecond)
		synctest.Wait()
		if waiting.Err() != nil {
			t.Error("an answer would not be read any more")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if waiting.Err() == nil {
			t.Error("the call goes on for ever")
		}
	})
}
