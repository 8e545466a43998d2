package core

import (
	"strings"
	"time"
)

// watch feeds the cache until Close.
func (m *Manager) watch() {
	if err := m.store.Watch(m.background, m.told); err != nil && m.background.Err() == nil {
		m.log.Error("the watch of the store ended; tokens are read from the store one by one until esignd is restarted", "error", err)
	}
}

// told takes in one word from the watch.
func (m *Manager) told(u Update) {
	silence, lagged := m.cache.hear(u)
	if lagged {
		m.reopenLineups()
		m.tasks.Go(func() {
			if err := m.readClock(m.background); err != nil && m.background.Err() == nil {
				m.log.Warn("the store's clock was not read after a silence; what is due is judged by its last reading, and a due timer reads it again", "error", err)
			}
		})
	}
	switch {
	case u.Synced:
		m.cache.markSynced()
	case u.Err != nil:
		m.unreadable(u, u.Err)
	case strings.HasPrefix(u.Record.Key, kindGrant):
		m.toldGrant(u, silence)
	case strings.HasPrefix(u.Record.Key, kindClient) && !u.Deleted:
		c, err := decodeClient(u.Record)
		if err != nil {
			m.log.Error("a client's record cannot be read; what was last known of the client holds, until its next change writes the record anew", "key", u.Record.Key, "error", err)
			return
		}
		m.toldClient(c)
	}
}

func (m *Manager) toldGrant(u Update, silence time.Duration) {
	id := strings.TrimPrefix(u.Record.Key, kindGrant)
	if u.Deleted {
		m.cache.drop(id, u.Record.Revision)
		return
	}
	if m.cache.revision(id) == u.Record.Revision {
		return // an own write that was acknowledged already, or one that was read
	}
	m.outbox.seen(id, u.Record)
	decode := decodeGrant
	if !u.Live && m.cache.full(id) {
		decode = decodeBrief
	}
	g, err := decode(u.Record)
	if err != nil {
		m.unreadable(u, err)
		return
	}
	m.cache.told(g, u.Live, silence)
}

// unreadable notes a record that cannot be read. It is kept as it is in the store, and what was known of it before is
// not served any more.
func (m *Manager) unreadable(u Update, err error) {
	m.log.Error("a record cannot be read; it is kept as it is and left out", "key", u.Record.Key, "error", err)
	m.cache.drop(strings.TrimPrefix(u.Record.Key, kindGrant), u.Record.Revision)
}
