package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlotsAreGivenToCallersFirstAndThenByExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		if err := s.acquire(t.Context(), newPlace(false), time.Time{}); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		var mu sync.Mutex
		var order []string
		wait := func(name string, p *place, ends time.Duration) {
			go func() {
				if err := s.acquire(t.Context(), p, now.Add(ends)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				time.Sleep(time.Second)
				s.release()
			}()
			synctest.Wait()
		}
		hurried := newPlace(false)
		wait("ends last", newPlace(false), 3*time.Hour)
		wait("ends first", newPlace(false), time.Hour)
		wait("first caller", newPlace(true), 5*time.Hour)
		wait("asked for meanwhile", hurried, 4*time.Hour)
		wait("last caller", newPlace(true), 0)
		s.hurry(hurried)
		s.release()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []string{"first caller", "asked for meanwhile", "last caller", "ends first", "ends last"}
		if !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

func TestSlotIsNotLostWithWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		for range 2 {
			if err := s.acquire(t.Context(), newPlace(true), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				switch err := s.acquire(short, newPlace(false), time.Time{}); {
				case err == nil:
					s.release()
				case !errors.Is(err, context.DeadlineExceeded):
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second) // both slots are given back at the moment at which all give up
		s.release()
		s.release()
		all.Wait()
		if s.free != 2 || len(s.waiting) != 0 {
			t.Errorf("%d slots are free and %d wait, want 2 and none", s.free, len(s.waiting))
		}
	})
}

func TestBreakerOpensAfterFailuresInARowAndLetsOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		b := &breaker{pause: func() time.Duration { return breakerPause }, tell: func() { told++ }}
		call := func(err error) {
			t.Helper()
			p, aerr := b.admit()
			if aerr != nil {
				t.Fatal(aerr)
			}
			p.settle(err)
			p.giveBack() // which says nothing any more
		}
		slow, err := b.admit()
		if err != nil {
			t.Fatal(err)
		}
		for range breakerOpensAt - 1 {
			call(errNotCalled)
			call(errAboutToEnd)
		}
		if b.shut() != nil {
			t.Fatal("open after four failures")
		}
		call(errAboutToEnd)
		if v := b.shut(); v == nil || v.RetryAfter != breakerPause || v.Outcome != NotSent || told != 1 {
			t.Fatalf("after five failures: %+v, told %d times", v, told)
		}
		slow.settle(nil) // sent before it opened
		if b.shut() == nil {
			t.Error("closed by a call that was sent before it opened")
		}
		time.Sleep(breakerPause)
		try, err := b.admit()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.admit(); err == nil || b.shut() == nil {
			t.Error("a second call tries meanwhile")
		}
		try.giveBack()
		call(errAboutToEnd) // the try that was not made is given to another
		if v := b.shut(); v == nil || v.RetryAfter != breakerPause || told != 1 {
			t.Errorf("after the try failed: %+v, told %d times", v, told)
		}
		time.Sleep(breakerPause)
		call(nil)
		if b.shut() != nil {
			t.Error("open after the try succeeded")
		}
		for range breakerOpensAt {
			call(errAboutToEnd)
		}
		if told != 2 {
			t.Errorf("told %d times, want twice", told)
		}
	})
}
