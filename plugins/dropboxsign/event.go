package dropboxsign

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	// eventReply is the body by which the vendor knows that its event has arrived.
	eventReply = "Hello API Event Received"
	// eventLifetime is how old an event may be: the vendor sends one again for about three days.
	eventLifetime = 3*24*time.Hour + time.Hour
	// clockSkew is how far the vendor's clock may be ahead of ours.
	clockSkew = 5 * time.Minute
	// maxEventJSON bounds the event itself; the rest of the body may be files.
	maxEventJSON = 256 << 10
)

// event is what the vendor posts, as far as it matters here.
type event struct {
	Event struct {
		Time     string `json:"event_time"`
		Type     string `json:"event_type"`
		Hash     string `json:"event_hash"`
		Metadata struct {
			Account string `json:"reported_for_account_id"`
			App     string `json:"reported_for_app_id"`
		} `json:"event_metadata"`
	} `json:"event"`
	account
	AccountGUID string `json:"account_guid"`
	ClientID    string `json:"client_id"`
}

// ReadEvent implements [core.EventReader]. It accepts what the API key has signed within the last three days.
//
// The signature covers the time and the type of an event and nothing else. Who saw one account_confirmed could send it
// again, while it is fresh, with the id of another account. What limits this: the vendor sends events over TLS; ids of
// accounts are digests that nobody guesses; and only a grant that awaits its confirmation takes notice. It would be active
// too early, with tokens that the vendor does not honour until its owner has confirmed; at worst a refresh in that time is
// refused, and the owner has to connect again. Nothing is disclosed, and grants in use are not touched.
func (a *Adapter) ReadEvent(_ context.Context, r core.EventRequest) (core.VendorEvent, error) {
	key, err := apiKey(r.Client)
	if err != nil {
		return core.VendorEvent{}, err
	}
	raw, err := eventJSON(r.Header.Get("Content-Type"), r.Body)
	var e event
	if err == nil {
		err = json.Unmarshal(raw, &e)
	}
	if err != nil { // its text could quote the event
		return core.VendorEvent{}, refused(core.CodeInvalidRequest, "the event is no multipart form with an event in the field json")
	}
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	_, _ = io.WriteString(mac, e.Event.Time+e.Event.Type)
	if !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(e.Event.Hash)) {
		return core.VendorEvent{}, refused(core.CodeAccessDenied, "the event is not signed with the setting api_key")
	}
	seconds, err := strconv.ParseInt(e.Event.Time, 10, 64)
	if err != nil {
		return core.VendorEvent{}, refused(core.CodeInvalidRequest, "the event's event_time is no Unix time")
	}
	if age := r.ReceivedAt.Sub(time.Unix(seconds, 0)); age > eventLifetime || age < -clockSkew {
		return core.VendorEvent{}, refused(core.CodeAccessDenied, "the event is too old, or from the future")
	}
	return e.meaning(r.Client.ClientID), nil
}

// meaning is what a checked event says. One of another app is of no interest: apps of an account share its API key.
func (e event) meaning(clientID string) core.VendorEvent {
	ignored := core.VendorEvent{Reply: eventReply}
	ours := func(app string) bool { return app == "" || app == clientID }
	id := e.subject()
	if e.Event.Type != "account_confirmed" || id == "" || !ours(e.Event.Metadata.App) || !ours(e.ClientID) {
		return ignored
	}
	return core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: id, Reply: eventReply}
}

// subject is the id of the account that the event is about: that of the account object. In a callback of an account, and
// not of an app, reported_for_account_id and account_guid are the receiver's, that is ours; they count where the vendor
// sends no account object.
func (e event) subject() string { return cmp.Or(e.Account.ID, e.Event.Metadata.Account, e.AccountGUID) }

func refused(code, detail string) error {
	return &core.VendorError{Outcome: core.NotSent, Code: code, Detail: detail}
}

var errNoEvent = errors.New("no field json")

// eventJSON returns the field json of a form. The vendor documents multipart; URL-encoded forms have been seen.
func eventJSON(contentType string, body []byte) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "multipart/form-data":
		return multipartField(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form["json"]) != 1 || len(form.Get("json")) > maxEventJSON {
			return nil, errNoEvent
		}
		return []byte(form.Get("json")), nil
	}
	return nil, errNoEvent
}

// multipartField returns the first field named json.
func multipartField(parts *multipart.Reader) ([]byte, error) {
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, err
		}
		if part.FormName() != "json" {
			continue
		}
		return io.ReadAll(io.LimitReader(part, maxEventJSON)) // what is longer is cut, and no JSON then
	}
}
