package core

// population is a group of grants that is counted.
type population struct {
	state          State
	vendor, client string
}

// census counts the grants of a shelf as they change, and the events that they owe.
type census struct {
	grants map[population]int64
	owed   map[string]int64 // by vendor
}

func newCensus() census { return census{grants: map[population]int64{}, owed: map[string]int64{}} }

// change takes in that what was known of a grant is something else now.
func (c *census) change(from, to known) {
	c.add(from, -1)
	c.add(to, 1)
}

func (c *census) add(k known, n int64) {
	switch {
	case k.busy != nil:
		g := k.busy.g
		for _, e := range g.Debts {
			c.owed[e.Vendor] += n
		}
		if !g.Forgotten {
			c.grants[population{g.State, g.Vendor, g.Client}] += n
		}
	case k.rests != nil:
		if what := k.rests.common.Value(); !what.forgotten {
			c.grants[population{what.state, what.vendor, what.client}] += n
		}
	}
}

// census returns the counts of all shelves.
func (c *cache) census() (grants map[population]int64, owed map[string]int64) {
	all := newCensus()
	for _, s := range c.shelves {
		s.mu.RLock()
		for p, n := range s.census.grants {
			all.grants[p] += n
		}
		for vendor, n := range s.census.owed {
			all.owed[vendor] += n
		}
		s.mu.RUnlock()
	}
	return all.grants, all.owed
}
