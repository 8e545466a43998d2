package sandbox

import (
	"net"
	"net/http"
	"net/url"
)

// MoveShard moves every account to another shard: another port of this host, which it returns the URL of. Access
// points name that from then on; the REST API refuses calls at the old one with INVALID_API_ACCESS_POINT, except
// baseUris, which says where to go. A state file does not keep the move.
func (s *Server) MoveShard() (string, error) {
	shard, err := s.AlsoListen()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shard = shard
	return shard, nil
}

// accessPoint is where the accounts are, with the slash that Adobe ends it with.
func (s *Server) accessPoint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shard == "" {
		return s.URL() + "/"
	}
	return s.shard + "/"
}

// onShard refuses calls at a shard that the accounts have left.
func (s *Server) onShard(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		u, err := url.Parse(s.accessPoint())
		if err != nil || here == nil || here.String() != u.Host {
			refuseREST(w, http.StatusForbidden, "INVALID_API_ACCESS_POINT", "Request must be made to correct API access point")
			return
		}
		h(w, r)
	}
}
