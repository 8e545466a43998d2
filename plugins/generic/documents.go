package generic

import (
	"context"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	documentLife = 10 * time.Minute
	maxDocuments = 64
)

// documents keeps metadata documents in memory, by issuer, and fetches each once at a time. It starts no goroutine: the
// first who asks fetches, and the others wait for that.
type documents struct {
	fetch func(context.Context, string) (document, error)
	now   func() time.Time

	mu      sync.Mutex // guards lookups and what is in them; not held over I/O
	lookups map[string]*lookup
}

// lookup is a document, or the search for it.
type lookup struct {
	done chan struct{} // closed at its end, after which nothing below changes
	document
	err error
	// abandoned says that it failed because the call that it was made in ended.
	abandoned bool
	until     time.Time // zero while it is under way
}

func newDocuments(fetch func(context.Context, string) (document, error), now func() time.Time) *documents {
	return &documents{fetch: fetch, now: now, lookups: map[string]*lookup{}}
}

// get returns the document of an issuer, kept or fetched. An error is a [*core.VendorError] with the outcome NotSent;
// it is not kept.
func (d *documents) get(ctx context.Context, issuer string) (document, error) {
	for {
		l, mine := d.join(issuer)
		if mine {
			d.search(ctx, issuer, l)
			return l.document, l.err
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return document{}, &core.VendorError{
				Outcome: core.NotSent, Code: core.CodeTimeout, Detail: "look up the issuer's metadata document: no answer in time",
			}
		}
		if !l.abandoned || ctx.Err() != nil {
			return l.document, l.err
		}
	}
}

// join returns the lookup of an issuer; mine says that the caller has to search.
func (d *documents) join(issuer string) (l *lookup, mine bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if l = d.lookups[issuer]; l != nil && (l.until.IsZero() || now.Before(l.until)) {
		return l, false
	}
	d.makeRoom(now)
	l = &lookup{done: make(chan struct{})}
	d.lookups[issuer] = l
	return l, true
}

// makeRoom drops documents that are old, and then the one that will be so next. Searches under way stay: there are no
// more of them than calls. The caller holds mu.
func (d *documents) makeRoom(now time.Time) {
	var oldest string
	for issuer, l := range d.lookups {
		switch {
		case l.until.IsZero():
		case !now.Before(l.until):
			delete(d.lookups, issuer)
		case oldest == "" || l.until.Before(d.lookups[oldest].until):
			oldest = issuer
		}
	}
	if len(d.lookups) >= maxDocuments {
		delete(d.lookups, oldest)
	}
}

// search fetches the document and ends the lookup, also when the fetching panics: others wait for it.
func (d *documents) search(ctx context.Context, issuer string, l *lookup) {
	var found document
	err := error(&core.VendorError{Outcome: core.NotSent, Code: core.CodeInternal, Detail: "look up the issuer's metadata document"})
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		l.document, l.err, l.abandoned = found, err, err != nil && ctx.Err() != nil
		l.until = d.now().Add(documentLife)
		if err != nil {
			delete(d.lookups, issuer)
		}
		close(l.done)
	}()
	found, err = d.fetch(ctx, issuer)
}

// kept returns the document of an issuer that is in memory, else the zero document. It fetches nothing.
func (d *documents) kept(issuer string) document {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lookups[issuer]; l != nil && d.now().Before(l.until) {
		return l.document
	}
	return document{}
}
