package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// api answers a call of the REST API with a live access token, and refuses all others.
func (s *Server) api(h func(http.ResponseWriter, authserver.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := authserver.Bearer(r)
		if !ok {
			refuseREST(w, http.StatusUnauthorized, "NO_AUTHORIZATION_HEADER", "Authorization header not provided")
			return
		}
		holder, err := s.ledger.Holder(token)
		if err != nil {
			refuseREST(w, http.StatusUnauthorized, "INVALID_ACCESS_TOKEN", "Access token provided is invalid or has expired")
			return
		}
		h(w, holder)
	}
}

func (s *Server) me(w http.ResponseWriter, h authserver.Holder) {
	id := sha256.Sum256([]byte(h.Account))
	authserver.WriteJSON(w, http.StatusOK, map[string]any{
		"id": "CBJCHBCAABAA" + hex.EncodeToString(id[:12]), "email": h.Account, "status": "ACTIVE",
		"firstName": "Sandbox", "lastName": "Person", "isAccountAdmin": true,
	})
}

func (s *Server) baseURIs(w http.ResponseWriter, _ authserver.Holder) {
	authserver.WriteJSON(w, http.StatusOK, map[string]string{
		"apiAccessPoint": s.accessPoint(), "webAccessPoint": s.accessPoint(),
	})
}

func refuseREST(w http.ResponseWriter, status int, code, message string) {
	authserver.WriteJSON(w, status, map[string]string{"code": code, "message": message})
}
