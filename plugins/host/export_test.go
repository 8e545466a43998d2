package host

// InFlight returns how many calls the current process has.
func InFlight(p *Plugin) int {
	p.mu.Lock()
	i := p.current
	p.mu.Unlock()
	if i == nil {
		return 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.inFlight
}
