package main

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/esignd/esignd/core"
)

const (
	// spare is how many goroutines may run beyond the processors there are while much is written: one for each stream of
	// the embedded server that may be in a synced write, the records' and the events'.
	spare = 2
	// muchWritten is how many grants change in a second where that is much, and stillWritten is for how long it counts.
	muchWritten  = 20
	stillWritten = 2 * time.Second
)

// processors gives room to the embedded server's synced writes. A goroutine that waits for the disk keeps one of Go's
// places to run until the runtime notices, which takes up to 10 ms; with as many places as processors, requests that are
// answered from memory wait for the disk while a processor idles. More places all the time would cost these requests a
// few percent: Go wakes threads for places that are free, and there are no processors for them.
type processors struct {
	seldom *rate.Limiter // allows as many changes of grants as are not much

	mu    sync.Mutex
	back  *time.Timer // nil: there are as many places as processors
	ended bool
}

// newProcessors returns nil where the environment says how many places there are.
func newProcessors() *processors {
	if os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return &processors{seldom: rate.NewLimiter(muchWritten, muchWritten)}
}

// changed is told of each change of a grant.
func (p *processors) changed(context.Context, core.Transition) {
	if p.seldom.Allow() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
	case p.back == nil:
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
		p.back = time.AfterFunc(stillWritten, p.restore)
	default:
		p.back.Reset(stillWritten)
	}
}

func (p *processors) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.back != nil {
		p.back.Stop()
		p.back = nil
		runtime.SetDefaultGOMAXPROCS() // which follows a container's limit, too
	}
}

// end restores what was, for good.
func (p *processors) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.restore()
}
