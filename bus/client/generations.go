package client

// generations knows of the grants of the last events which generation of each is the least that is not old.
type generations struct {
	of    map[string]generation
	ring  []string
	count uint64 // of the events
}

type generation struct {
	least uint64
	told  uint64 // the number of the last event
}

func newGenerations(size int) generations {
	return generations{of: make(map[string]generation), ring: make([]string, size)}
}

// raise makes what is below least old.
func (g *generations) raise(grant string, least uint64) {
	slot := g.count % uint64(len(g.ring))
	if was := g.ring[slot]; was != "" && g.of[was].told+uint64(len(g.ring)) == g.count {
		delete(g.of, was)
	}
	g.ring[slot] = grant
	g.of[grant] = generation{least: max(least, g.of[grant].least), told: g.count}
	g.count++
}

// above reports whether a generation is old, or may be: since the count was began more was told than is known.
func (g *generations) above(grant string, generation, began uint64) bool {
	return generation < g.of[grant].least || g.count-began > uint64(len(g.ring))
}
