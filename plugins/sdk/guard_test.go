package sdk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestOrphanIsNoticedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parent atomic.Int64
		parent.Store(4711)
		orphaned := make(chan time.Time, 1)
		begun := time.Now()
		stop := watchParent(func() int { return int(parent.Load()) }, time.Second, func() { orphaned <- time.Now() })
		time.Sleep(10 * time.Second)
		if len(orphaned) != 0 {
			t.Fatal("the parent lives")
		}
		parent.Store(1)
		if at := <-orphaned; at.Sub(begun) > 11*time.Second {
			t.Errorf("noticed after %v", at.Sub(begun)-10*time.Second)
		}
		stop()
	})
}

func TestWatchOfTheParentCanBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := watchParent(func() int { return 1 }, time.Second, func() { t.Error("a parent with number 1 is a parent too") })
		time.Sleep(5 * time.Second)
		stop()
	})
}

func TestDeadlineLeavesTimeToAnswer(t *testing.T) {
	tests := map[time.Duration]time.Duration{
		10 * time.Second: 9500 * time.Millisecond,
		time.Second:      900 * time.Millisecond,
		0:                0,
	}
	for given, want := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			_, err := shortenDeadline(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) {
				deadline, _ := ctx.Deadline()
				if got := time.Until(deadline); got != want {
					t.Errorf("of %v the adapter has %v, want %v", given, got, want)
				}
				return nil, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	_, _ = shortenDeadline(t.Context(), nil, nil, func(ctx context.Context, _ any) (any, error) {
		if _, ok := ctx.Deadline(); ok {
			t.Error("a call without a deadline got one")
		}
		return nil, nil
	})
}

func TestPanicIsLoggedWithItsStackAndWithoutItsValue(t *testing.T) {
	var index []int
	tests := map[string]struct {
		panics func()
		says   string
	}{
		"value":         {func() { panic("CANARY") }, "a value of type string"},
		"error":         {func() { panic(errors.New("CANARY")) }, "a value of type *errors.errorString"},
		"runtime error": {func() { _ = index[3] }, "index out of range [3]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			guard := recoverPanic(slog.New(slog.NewJSONHandler(&out, nil)))
			info := &grpc.UnaryServerInfo{FullMethod: "/esignd.plugin.v1.Adapter/Token"}
			_, err := guard(t.Context(), nil, info, func(context.Context, any) (any, error) {
				tt.panics()
				return nil, nil
			})
			if status.Code(err) != codes.Internal {
				t.Errorf("got %v", err)
			}
			if !strings.Contains(out.String(), tt.says) || !strings.Contains(out.String(), "guard_test.go") {
				t.Errorf("logged: %s", out.String())
			}
			if strings.Contains(out.String()+err.Error(), "CANARY") {
				t.Error("the value came out")
			}
		})
	}
}

func TestExplanationNamesWhatToRun(t *testing.T) {
	var out bytes.Buffer
	explain(&out, "/opt/esignd/esignd-plugin-example")
	for _, want := range []string{"esignd-plugin-example is a plugin of esignd", "plugin-host describe /opt/esignd/esignd-plugin-example"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q does not say %q", out.String(), want)
		}
	}
}
