package wire

import (
	"encoding/json"
	"time"

	"github.com/esignd/esignd/core"
)

// Error is the body of an error reply. Code and description stand in the headers too.
type Error struct {
	Code        core.Code `json:"error"`
	Description string    `json:"error_description"`
	Reason      string    `json:"reason,omitempty"`
	// RetryAfter is after how many seconds to ask again.
	RetryAfter int64  `json:"retry_after,omitempty"`
	ConnectURL string `json:"connect_url,omitempty"`
}

// ErrorOf returns e as a message. A part of a second to wait counts as a whole one.
func ErrorOf(e *core.Error) Error {
	return Error{
		Code: e.Code, Description: e.Description, Reason: e.Reason,
		RetryAfter: int64((e.RetryAfter + time.Second - 1) / time.Second), ConnectURL: e.ConnectURL,
	}
}

// EncodeError returns the headers and the body of an error reply.
func EncodeError(e *core.Error) (map[string]string, []byte) {
	header := map[string]string{HeaderErrorCode: string(e.Code), HeaderError: oneLine(e.Description)}
	body, err := json.Marshal(ErrorOf(e))
	if err != nil {
		// Strings and numbers always marshal.
		return header, []byte(`{}`)
	}
	return header, body
}

// DecodeError returns the error that a reply tells of, nil where it is none. What the body does not say is taken from
// the headers.
func DecodeError(header map[string][]string, body []byte) *core.Error {
	code := Header(header).Get(HeaderErrorCode)
	if code == "" {
		return nil
	}
	out := &core.Error{Code: core.Code(code), Description: Header(header).Get(HeaderError)}
	var e Error
	if err := json.Unmarshal(body, &e); err != nil || e.Code == "" {
		return out
	}
	out.Code, out.Description, out.Reason, out.ConnectURL = e.Code, e.Description, e.Reason, e.ConnectURL
	out.RetryAfter = time.Duration(e.RetryAfter) * time.Second
	return out
}
