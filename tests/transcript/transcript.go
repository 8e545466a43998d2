// Package transcript gives tests a log to read while others write it.
package transcript

import (
	"bytes"
	"sync"
)

// Transcript is what was written. Its methods may be called concurrently; the zero Transcript is empty.
type Transcript struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (x *Transcript) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.Write(p)
}

// String returns all that was written until now.
func (x *Transcript) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// Tail returns the last n bytes of what was written.
func (x *Transcript) Tail(n int) string {
	s := x.String()
	return s[max(0, len(s)-n):]
}
