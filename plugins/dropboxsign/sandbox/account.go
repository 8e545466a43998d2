package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// acknowledgement is the body with which an event has to be answered.
const acknowledgement = "Hello API Event Received"

// errNotAcknowledged says that the app's event URL did not answer as the vendor wants it.
var errNotAcknowledged = errors.New("the event was not acknowledged with 200 and \"" + acknowledgement + "\"")

func accountID(email string) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:20])
}

func accountObject(email string) map[string]any {
	return map[string]any{
		"account_id": accountID(email), "email_address": email, "is_locked": false, "is_paid_hs": true,
		"is_paid_hf": false, "callback_url": nil, "role_code": nil, "locale": "en-US",
	}
}

// mayManage takes the API key as user name of HTTP Basic, and has answered where it returns false.
func (s *Server) mayManage(w http.ResponseWriter, r *http.Request) bool {
	user, _, given := r.BasicAuth()
	switch {
	case !given:
		refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized user. No credentials supplied.")
	case subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.APIKey)) != 1:
		refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized api key.")
	default:
		return true
	}
	return false
}

func (s *Server) exists(email string) bool {
	s.mu.Lock()
	known := s.accounts[email]
	s.mu.Unlock()
	return known || s.ledger.HasAccount(email)
}

func (s *Server) verifyAccount(w http.ResponseWriter, r *http.Request) {
	if _, bearer := authserver.Bearer(r); bearer {
		s.bearer(func(w http.ResponseWriter, r *http.Request, _ authserver.Holder) { s.verified(w, r) })(w, r)
		return
	}
	if s.mayManage(w, r) {
		s.verified(w, r)
	}
}

func (s *Server) verified(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.JSON, authserver.Form, authserver.Multipart)
	email := p.Get("email_address")
	switch {
	case err != nil || !strings.Contains(email, "@"):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "email_address is missing or invalid.")
	case s.exists(email):
		authserver.WriteJSON(w, http.StatusOK, map[string]any{"account": map[string]string{
			"account_id": accountID(email), "email_address": email,
		}})
	default:
		authserver.WriteJSON(w, http.StatusOK, struct{}{})
	}
}

// createAccount issues tokens that do not work before ConfirmAccount.
func (s *Server) createAccount(w http.ResponseWriter, r *http.Request) {
	if !s.mayManage(w, r) {
		return
	}
	p, err := authserver.ReadParams(r, "", authserver.JSON, authserver.Form, authserver.Multipart)
	email := p.Get("email_address")
	switch {
	case err != nil || !strings.Contains(email, "@"):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "email_address is missing or invalid.")
		return
	case !s.ledger.KnownClient(p.Get("client_id")) || !s.ledger.RightSecret(p.Get("client_secret")):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "client_id or client_secret is wrong.")
		return
	case s.exists(email):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "There is an account with this e-mail address already.")
		return
	}
	set, err := s.ledger.Create(email, s.appScopes())
	if err != nil {
		refuseAPI(w, http.StatusInternalServerError, "unknown", "The sandbox cannot write its state file.")
		return
	}
	data := s.tokens(set)
	data.AccountID = ""
	authserver.WriteJSON(w, http.StatusOK, map[string]any{"account": accountObject(email), "oauth_data": data})
}

// ConfirmAccount is the person who confirms the account that was created for them and authorizes the app. The tokens
// work from then on, and the event account_confirmed goes to the event URL. The vendor would send the event again for about
// three days; the sandbox sends it once and returns an error where it was not acknowledged.
func (s *Server) ConfirmAccount(ctx context.Context, email string) error {
	found, err := s.ledger.Confirm(email)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("dropboxsign sandbox: no account waits to be confirmed by %s", email)
	}
	return s.SendEvent(ctx, "account_confirmed", email)
}

// SendEvent posts an event of the app about the account to the event URL, if there is one, as the vendor signs and
// words it.
func (s *Server) SendEvent(ctx context.Context, eventType, email string) error {
	s.mu.Lock()
	target := s.eventURL
	s.mu.Unlock()
	if target == "" {
		return nil
	}
	body, contentType, err := s.event(eventType, email)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return fmt.Errorf("send the event: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := s.events.Do(req)
	if err != nil {
		return fmt.Errorf("send the event: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("read the answer to the event: %w", err)
	}
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(answer)) != acknowledgement {
		return errNotAcknowledged
	}
	return nil
}

func (s *Server) event(eventType, email string) (io.Reader, string, error) {
	when := strconv.FormatInt(s.cfg.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.cfg.APIKey))
	_, _ = io.WriteString(mac, when+eventType)
	payload, err := json.Marshal(map[string]any{
		"event": map[string]any{
			"event_time": when, "event_type": eventType, "event_hash": hex.EncodeToString(mac.Sum(nil)),
			"event_metadata": map[string]any{
				"related_signature_id": nil, "reported_for_account_id": nil, "reported_for_app_id": s.cfg.ClientID,
			},
		},
		"account": accountObject(email),
	})
	if err != nil {
		return nil, "", err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	err = form.WriteField("json", string(payload))
	if err != nil {
		return nil, "", err
	}
	return &body, form.FormDataContentType(), form.Close()
}
