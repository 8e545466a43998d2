package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"
)

// How long a link to the console can be opened, and a session lasts; and how many of each there are, before the oldest
// gives way.
const (
	linkLife     = time.Minute
	sessionLife  = 8 * time.Hour
	mostLinks    = 16
	mostSessions = 64
)

// digest is what is kept of a link or a session: who reads this process's memory cannot use it.
type digest [sha256.Size]byte

// sessions are who may see the console. They end with the process.
type sessions struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	links map[digest]time.Time
	open  map[digest]time.Time // until when
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, links: map[digest]time.Time{}, open: map[digest]time.Time{}}
}

// link makes a link's secret, which begins one session.
func (s *sessions) link() (secret string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return add(s.links, s.now(), linkLife, mostLinks)
}

// begin takes a link's secret, once, and returns that of the session it begins.
func (s *sessions) begin(link string) (session string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now := sha256.Sum256([]byte(link)), s.now()
	until, ok := s.links[key]
	delete(s.links, key)
	if !ok || !now.Before(until) {
		return "", false
	}
	session, _ = add(s.open, now, sessionLife, mostSessions)
	return session, true
}

// lives reports whether a session has begun and not ended.
func (s *sessions) lives(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.open[sha256.Sum256([]byte(session))]
	return ok && s.now().Before(until)
}

func (s *sessions) end(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(session)))
}

// add makes a secret of 256 bits and keeps its digest. What has ended goes, and the oldest where there are too many.
func add(kept map[digest]time.Time, now time.Time, life time.Duration, most int) (string, time.Time) {
	var oldest digest
	for key, until := range kept {
		if !now.Before(until) {
			delete(kept, key)
		}
	}
	for key, until := range kept {
		if end, ok := kept[oldest]; !ok || until.Before(end) {
			oldest = key
		}
	}
	if len(kept) >= most {
		delete(kept, oldest)
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(random[:])
	kept[sha256.Sum256([]byte(secret))] = now.Add(life)
	return secret, now.Add(life)
}
