package generic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// errFetch stands for a failure to fetch.
var errFetch = errors.New("fetch")

func TestWhoWaitsSearchesOnWhenTheSearcherGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		searches := 0
		d := newDocuments(func(ctx context.Context, _ string) (document, error) {
			if searches++; searches == 1 {
				<-ctx.Done()
				return document{}, errFetch
			}
			return document{sendsIssuer: true}, nil
		}, time.Now)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := d.get(short, "a"); !errors.Is(err, errFetch) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				if got, err := d.get(t.Context(), "a"); err != nil || !got.sendsIssuer {
					t.Error(got, err)
				}
			})
		}
		all.Wait()
		if searches != 2 {
			t.Errorf("%d searches", searches)
		}
	})
}

func TestWhoWaitsSharesAFailureAndTheNextSearchesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		searches := 0
		d := newDocuments(func(context.Context, string) (document, error) {
			searches++
			time.Sleep(time.Second)
			return document{}, errFetch
		}, time.Now)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := d.get(t.Context(), "a"); !errors.Is(err, errFetch) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if _, err := d.get(t.Context(), "a"); !errors.Is(err, errFetch) || searches != 2 {
			t.Error(err, searches)
		}
	})
}

func TestWhoWaitsGivesUpAtTheEndOfItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDocuments(func(ctx context.Context, _ string) (document, error) {
			<-ctx.Done()
			return document{}, errFetch
		}, time.Now)
		long, cancelLong := context.WithTimeout(t.Context(), time.Minute)
		defer cancelLong()
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		var searching sync.WaitGroup
		searching.Go(func() { _, _ = d.get(long, "a") })
		synctest.Wait()
		began := time.Now()
		_, err := d.get(short, "a")
		if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeTimeout || time.Since(began) != time.Second {
			t.Error(err, time.Since(began))
		}
		cancelLong()
		searching.Wait()
	})
}

func TestASearchThatPanicsHoldsUpNobody(t *testing.T) {
	panics := true
	d := newDocuments(func(context.Context, string) (document, error) {
		if panics {
			panic("a bug")
		}
		return document{}, nil
	}, time.Now)
	func() {
		defer func() { _ = recover() }()
		_, _ = d.get(t.Context(), "a")
	}()
	panics = false
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := d.get(ctx, "a"); err != nil {
		t.Error(err)
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := newDocuments(func(context.Context, string) (document, error) { return document{sendsIssuer: true}, nil }, func() time.Time { return now })
	for i := range 3 * maxDocuments {
		now = now.Add(time.Millisecond)
		if _, err := d.get(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.lookups) != maxDocuments || !d.kept(fmt.Sprint(3*maxDocuments-1)).sendsIssuer || d.kept("0").sendsIssuer {
		t.Errorf("%d are kept", len(d.lookups))
	}
	now = now.Add(documentLife)
	if _, err := d.get(t.Context(), "new"); err != nil || len(d.lookups) != 1 {
		t.Errorf("%d are kept, %v", len(d.lookups), err)
	}
}
