package wire

import (
	"encoding/json"
	"time"
)

// Time is a time in a message: RFC 3339 in UTC, cut to whole seconds. Any offset is accepted when it is read.
type Time struct{ time.Time }

// MarshalJSON returns the time as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Truncate(time.Second).Format(time.RFC3339))
}

// UnmarshalJSON reads a JSON string.
func (t *Time) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return err
	}
	t.Time = parsed.UTC()
	return nil
}

// optional returns nil as the zero time.
func optional(t *time.Time) Time {
	if t == nil {
		return Time{}
	}
	return Time{*t}
}

// pointer returns the zero time as nil.
func (t Time) pointer() *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}
