package client

// recent knows the last ids that it was told.
type recent struct {
	ids  map[string]struct{}
	ring []string
	next int
}

func newRecent(size int) recent {
	return recent{ids: make(map[string]struct{}), ring: make([]string, size)}
}

func (r *recent) has(id string) bool {
	_, ok := r.ids[id]
	return ok
}

func (r *recent) add(id string) {
	delete(r.ids, r.ring[r.next])
	r.ids[id], r.ring[r.next] = struct{}{}, id
	r.next = (r.next + 1) % len(r.ring)
}
