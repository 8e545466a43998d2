package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

const (
	uploadLimit = 8 << 20
	sentCap     = 200
)

// bearer answers a call of the API with a live access token, and refuses all others.
func (s *Server) bearer(h func(http.ResponseWriter, *http.Request, authserver.Holder)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := authserver.Bearer(r)
		if !ok {
			refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized user. No credentials supplied.")
			return
		}
		holder, err := s.ledger.Holder(token)
		if err != nil {
			refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized access token.")
			return
		}
		h(w, r, holder)
	}
}

func refuseAPI(w http.ResponseWriter, status int, name, message string) {
	authserver.WriteJSON(w, status, map[string]any{"error": map[string]string{"error_name": name, "error_msg": message}})
}

func (s *Server) account(w http.ResponseWriter, _ *http.Request, h authserver.Holder) {
	authserver.WriteJSON(w, http.StatusOK, map[string]any{"account": accountObject(h.Account)})
}

// signatureRequest is what there is to see of one that was sent.
type signatureRequest struct {
	ID        string   `json:"signature_request_id"`
	Title     string   `json:"title"`
	Subject   string   `json:"subject"`
	Requester string   `json:"requester_email_address"`
	TestMode  bool     `json:"test_mode"`
	Complete  bool     `json:"is_complete"`
	CreatedAt int64    `json:"created_at"`
	Signers   []signer `json:"signatures"`
}

type signer struct {
	Email  string `json:"signer_email_address"`
	Name   string `json:"signer_name"`
	Status string `json:"status_code"`
}

func (s *Server) listRequests(w http.ResponseWriter, _ *http.Request, h authserver.Holder) {
	own := []signatureRequest{}
	s.mu.Lock()
	for _, q := range s.sent {
		if q.Requester == h.Account {
			own = append(own, q)
		}
	}
	s.mu.Unlock()
	authserver.WriteJSON(w, http.StatusOK, map[string]any{
		"list_info":          map[string]int{"num_pages": 1, "num_results": len(own), "page": 1, "page_size": 20},
		"signature_requests": own,
	})
}

// sendRequest keeps title, subject and signers, and no file: nobody signs anything here.
func (s *Server) sendRequest(w http.ResponseWriter, r *http.Request, h authserver.Holder) {
	q, err := readSignatureRequest(r)
	if err != nil {
		refuseAPI(w, http.StatusBadRequest, "bad_request", "The request cannot be read, or names no signer.")
		return
	}
	now := s.cfg.Now()
	q.Requester, q.CreatedAt = h.Account, now.Unix()
	q.ID = accountID(q.Title + h.Account + now.String())
	s.mu.Lock()
	s.sent = append(s.sent, q)
	s.sent = s.sent[max(0, len(s.sent)-sentCap):]
	s.mu.Unlock()
	authserver.WriteJSON(w, http.StatusOK, map[string]any{"signature_request": q})
}

var errNoSigner = errors.New("no signer")

func readSignatureRequest(r *http.Request) (q signatureRequest, err error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body := http.MaxBytesReader(nil, r.Body, uploadLimit)
	switch {
	case err != nil:
	case kind == authserver.JSON:
		err = q.readJSON(body)
	case kind == authserver.Multipart:
		err = q.readMultipart(body, params["boundary"])
	default:
		err = authserver.ErrContentType
	}
	if err == nil && len(q.Signers) == 0 {
		err = errNoSigner
	}
	return q, err
}

func (q *signatureRequest) readJSON(body io.Reader) error {
	var in struct {
		Title, Subject string
		Signers        []struct {
			Email string `json:"email_address"`
			Name  string `json:"name"`
		}
		TestMode bool `json:"test_mode"`
	}
	if err := json.NewDecoder(body).Decode(&in); err != nil {
		return err
	}
	q.Title, q.Subject, q.TestMode = in.Title, in.Subject, in.TestMode
	for _, one := range in.Signers {
		q.Signers = append(q.Signers, signer{Email: one.Email, Name: one.Name, Status: "awaiting_signature"})
	}
	return nil
}

// readMultipart reads fields such as signers[0][email_address]; each address is a signer.
func (q *signatureRequest) readMultipart(body io.Reader, boundary string) error {
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		switch name := part.FormName(); {
		case name == "title":
			q.Title = string(value)
		case name == "subject":
			q.Subject = string(value)
		case name == "test_mode":
			q.TestMode = string(value) == "1"
		case strings.HasPrefix(name, "signers[") && strings.HasSuffix(name, "[email_address]"):
			q.Signers = append(q.Signers, signer{Email: string(value), Status: "awaiting_signature"})
		}
	}
}
