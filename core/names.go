package core

import (
	"strings"
	"sync"
)

// rememberedNames is how many names are remembered.
const rememberedNames = 4096

// names name a grant.
type names struct{ tenant, client, account string }

// directory remembers the ids of grants that are asked for by their names again and again: to find one anew takes as
// long as all else that it takes to hand out a token.
type directory struct {
	mu  sync.RWMutex
	ids map[names]string // guarded by mu; at most rememberedNames
}

// id returns the id of the grant that n names, and whether it is remembered.
func (d *directory) id(n names) (id string, remembered bool) {
	d.mu.RLock()
	id, remembered = d.ids[n]
	d.mu.RUnlock()
	if !remembered {
		id = GrantID(n.tenant, n.client, n.account)
	}
	return id, remembered
}

// remember takes the place of any other where there is no more room.
func (d *directory) remember(n names, id string) {
	// The caller's strings may be parts of longer ones.
	n = names{strings.Clone(n.tenant), strings.Clone(n.client), strings.Clone(n.account)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil {
		d.ids = map[names]string{}
	}
	if len(d.ids) >= rememberedNames {
		for other := range d.ids {
			delete(d.ids, other)
			break
		}
	}
	d.ids[n] = id
}
