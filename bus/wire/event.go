package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/esignd/esignd/core"
)

// EventContentType is the Content-Type of an event: CloudEvents 1.0, structured mode.
const EventContentType = "application/cloudevents+json"

// specVersion is the version of CloudEvents.
const specVersion = "1.0"

// Event is an event as subscribers see it: a CloudEvent, with the distributed tracing extension.
type Event struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"`
	Source      string         `json:"source"` // /esignd/<tenant>/<client>
	Type        core.EventType `json:"type"`
	// Subject is the grant. Empty for an event of a client or a vendor.
	Subject         string    `json:"subject,omitempty"`
	Time            Time      `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	TraceParent     string    `json:"traceparent,omitempty"`
	Data            EventData `json:"data"`
}

// EventData is what happened. It never holds a token, code or secret.
type EventData struct {
	Tenant           string `json:"tenant"`
	Client           string `json:"client"`
	Vendor           string `json:"vendor"`
	Account          string `json:"account,omitempty"`
	Grant            string `json:"grant,omitempty"`
	Generation       uint64 `json:"generation,omitempty"`
	Scope            string `json:"scope,omitempty"`
	IssuedAt         Time   `json:"issued_at,omitzero"`
	ExpiresAt        Time   `json:"expires_at,omitzero"`
	Reason           string `json:"reason,omitempty"`
	VendorRevoked    *bool  `json:"vendor_revoked,omitempty"`
	ConsentExpiresAt Time   `json:"consent_expires_at,omitzero"`
	Attempts         int64  `json:"attempts,omitempty"`
	NextAttempt      Time   `json:"next_attempt,omitzero"`
}

// EncodeEvent returns the subject, the headers and the body of e. The headers are Nats-Msg-Id, Content-Type and, where
// the event has a trace context, traceparent. An error says which part of e cannot stand in a subject.
func EncodeEvent(prefix string, e core.Event) (subject string, header map[string]string, body []byte, err error) {
	if e.ID == "" {
		return "", nil, nil, errors.New("the event has no id")
	}
	if subject, err = EventSubject(prefix, e); err != nil {
		return "", nil, nil, err
	}
	if body, err = json.Marshal(eventOf(e)); err != nil {
		return "", nil, nil, err
	}
	header = map[string]string{HeaderMsgID: e.ID, HeaderContentType: EventContentType}
	if e.TraceParent != "" {
		header[HeaderTraceParent] = oneLine(e.TraceParent)
	}
	return subject, header, body, nil
}

func eventOf(e core.Event) Event {
	return Event{
		SpecVersion: specVersion, ID: e.ID, Source: "/esignd/" + e.Tenant + "/" + url.PathEscape(e.Client), Type: e.Type,
		Subject: e.Grant, Time: Time{e.Time}, DataContentType: "application/json", TraceParent: e.TraceParent,
		Data: EventData{
			Tenant: e.Tenant, Client: e.Client, Vendor: e.Vendor, Account: e.Account, Grant: e.Grant,
			Generation: e.Generation, Scope: strings.Join(e.Scope, " "), IssuedAt: optional(e.IssuedAt),
			ExpiresAt: optional(e.ExpiresAt), Reason: e.Reason, VendorRevoked: e.VendorRevoked,
			ConsentExpiresAt: optional(e.ConsentExpiresAt), Attempts: int64(e.Attempts),
			NextAttempt: optional(e.NextAttempt),
		},
	}
}

// DecodeEvent reads the body of an event.
func DecodeEvent(body []byte) (core.Event, error) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return core.Event{}, fmt.Errorf("read an event: %w", err)
	}
	if e.SpecVersion != specVersion || e.ID == "" || e.Type == "" {
		return core.Event{}, errors.New("read an event: this is not a CloudEvent " + specVersion + " of esignd")
	}
	d := e.Data
	return core.Event{
		ID: e.ID, Type: e.Type, Time: e.Time.Time, Tenant: d.Tenant, Client: d.Client, Vendor: d.Vendor,
		Account: d.Account, Grant: d.Grant, Generation: d.Generation, Scope: scope(d.Scope),
		IssuedAt: d.IssuedAt.pointer(), ExpiresAt: d.ExpiresAt.pointer(), Reason: d.Reason,
		VendorRevoked: d.VendorRevoked, ConsentExpiresAt: d.ConsentExpiresAt.pointer(), Attempts: int(d.Attempts),
		NextAttempt: d.NextAttempt.pointer(), TraceParent: e.TraceParent,
	}, nil
}
