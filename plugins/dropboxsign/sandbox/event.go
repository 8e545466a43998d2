package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"
)

const (
	// acknowledgement is the body with which an event has to be answered.
	acknowledgement = "Hello API Event Received"
	// deliveries is how often an event is sent until it is acknowledged.
	deliveries = 5
)

// errNotAcknowledged says that the app's event URL did not answer as the vendor wants it.
var errNotAcknowledged = errors.New("the event was not acknowledged with 200 and \"" + acknowledgement + "\"")

// SendEvent posts an event of the app about the account to the event URL, if there is one, as the vendor signs and
// words it. It sends it again, the same and after longer and longer waits, until it is acknowledged, and returns an error
// where it was not in five times, or before ctx ended.
func (s *Server) SendEvent(ctx context.Context, eventType, email string) error {
	target := s.eventTarget()
	if target == "" {
		return nil
	}
	body, contentType, err := s.event(eventType, email)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	wait := s.cfg.EventBackoff
	for n := 1; ; n++ {
		err = s.post(ctx, target, body, contentType)
		if err == nil || n == deliveries {
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// sendInBackground is SendEvent while nobody waits for it but Close, which ends it. It is called by a handler.
func (s *Server) sendInBackground(ctx context.Context, eventType, email string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the request ends before
	s.delivering.Go(func() {
		defer cancel()
		_ = s.SendEvent(ctx, eventType, email) // the vendor tells nobody either
	})
	s.delivering.Go(func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	})
}

func (s *Server) eventTarget() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eventURL
}

// post sends an event once.
func (s *Server) post(ctx context.Context, target string, body []byte, contentType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
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
	if resp.StatusCode != http.StatusOK || string(answer) != acknowledgement {
		return errNotAcknowledged
	}
	return nil
}

// event is the body of an app's event, which has no account that it is reported for.
func (s *Server) event(eventType, email string) (body []byte, contentType string, err error) {
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
	var buf bytes.Buffer
	form := multipart.NewWriter(&buf)
	err = errors.Join(form.WriteField("json", string(payload)), form.Close())
	return buf.Bytes(), form.FormDataContentType(), err
}
