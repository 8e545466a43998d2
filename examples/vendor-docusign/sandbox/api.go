package sandbox

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// AccountID is the vendor's id of the person's default account, the same at each start.
func AccountID(person string) string {
	sum := sha256.Sum256([]byte(person))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// holder returns whose token came, and answers where there is none.
func (s *Server) holder(w http.ResponseWriter, r *http.Request) (person string, ok bool) {
	token, _ := authserver.Bearer(r)
	holder, err := s.ledger.Holder(token)
	if err != nil {
		authserver.WriteJSON(w, http.StatusUnauthorized, map[string]string{
			"errorCode": "USER_AUTHENTICATION_FAILED", "message": "the access token is missing, wrong or expired",
		})
	}
	return holder.Account, err == nil
}

// userinfo tells of the person and two accounts, of which the second is the default.
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	person, ok := s.holder(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	moved := s.baseURI
	s.mu.Unlock()
	base := cmp.Or(moved, s.URL())
	authserver.WriteJSON(w, http.StatusOK, map[string]any{
		"sub": AccountID("sub " + person), "name": "Sandbox Person", "email": person,
		"accounts": []map[string]any{
			{"account_id": AccountID("other " + person), "is_default": false, "account_name": "Another", "base_uri": "https://na9.docusign.net"},
			{"account_id": AccountID(person), "is_default": true, "account_name": "Sandbox", "base_uri": base},
		},
	})
}

// account answers the token's own account.
func (s *Server) account(w http.ResponseWriter, r *http.Request) {
	person, ok := s.holder(w, r)
	switch {
	case !ok:
	case r.PathValue("account") != AccountID(person):
		authserver.WriteJSON(w, http.StatusBadRequest, map[string]string{
			"errorCode": "ACCOUNT_LACKS_PERMISSIONS", "message": "this is another's account",
		})
	default:
		authserver.WriteJSON(w, http.StatusOK, map[string]string{"accountIdGuid": AccountID(person), "accountName": "Sandbox"})
	}
}
