package core

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// missed is what went wrong with many grants of a vendor, told in one line: each alone would drown the log in an outage.
type missed struct {
	vendor string
	mu     sync.Mutex // guards what follows
	count  int
	grant  string // the first
	err    error  // what stopped it
}

func (x *missed) add(grant string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.count++; x.count == 1 {
		x.grant, x.err = grant, err
	}
}

// attrs are those of the line; nil where there is nothing to tell.
func (x *missed) attrs() []any {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.count == 0 {
		return nil
	}
	return []any{"vendor", x.vendor, "count", x.count, "grant", x.grant, "error", x.err}
}

// seldomEvery is how long a line is held back that requests or outages would write again and again.
const seldomEvery = 10 * time.Second

// seldom are such lines. The first of each is written at once, the others are counted by metrics.
type seldom struct{ store, damaged, adapter, refused rate.Sometimes }

func newSeldom() *seldom {
	return &seldom{
		store: rate.Sometimes{Interval: seldomEvery}, damaged: rate.Sometimes{Interval: seldomEvery},
		adapter: rate.Sometimes{Interval: seldomEvery}, refused: rate.Sometimes{Interval: seldomEvery},
	}
}
