package sandbox

import (
	"net"
	"net/http"
	"net/url"
)

// MoveShard moves every account to another shard: another port of this host, which it returns the URL of. Access
// points name that from then on. The REST API and the refresh are refused at the old one with
// INVALID_API_ACCESS_POINT; baseUris, which says where to go, the consent page, the exchange of a code and revocation
// work at both. A state file does not keep the move.
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
		if s.left(r) {
			refuseShard(w)
			return
		}
		h(w, r)
	}
}

// left reports whether the request came to a shard that the accounts have left.
func (s *Server) left(r *http.Request) bool {
	here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	u, err := url.Parse(s.accessPoint())
	return err != nil || here == nil || here.String() != u.Host
}

func refuseShard(w http.ResponseWriter) {
	refuseREST(w, http.StatusForbidden, "INVALID_API_ACCESS_POINT", "Request must be made to correct API access point")
}
