// Package witness knows the secrets of a test and finds them wherever they come to light. A Witness stands in front of
// sandbox vendors and notes every secret that goes in or out; tests note those that it cannot see. Search then looks for
// all of them in what a process has written, sent or left.
//
// A secret is found in plain, in a URL, in JSON, in base64 (standard and URL alphabet, wherever in a longer text it
// stands), in hexadecimal, as Go prints bytes, and in gzip. It is found as well where only the second half of it came
// to light, or sixteen bytes of that. The package guarantees nothing about ciphertext, which is the point of sealing.
package witness

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"slices"
	"sync"
)

// window is how many bytes of a secret, or of one of its forms, are looked up at a time. What is shorter could be found
// by chance, and is not noted.
const window = 16

// maxUnpacked bounds what one gzip stream is unpacked to.
const maxUnpacked = 64 << 20

// Witness knows secrets. Methods may be called concurrently.
type Witness struct {
	mu      sync.Mutex        // guards what follows
	secrets map[string]string // what it is, by value
	pieces  map[string]string // what it is, by what is looked for
}

// New returns a Witness that knows nothing.
func New() *Witness { return &Witness{secrets: map[string]string{}, pieces: map[string]string{}} }

// Note remembers a secret by what it is, such as "refresh_token". One under sixteen bytes is not kept; Kinds tells.
func (w *Witness) Note(what, secret string) {
	if len(secret) < window {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.secrets[secret]; known {
		return
	}
	w.secrets[secret] = what
	for _, piece := range pieces(secret) {
		w.pieces[piece] = what
	}
}

// Kinds returns what the secrets are, each once, sorted.
func (w *Witness) Kinds() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(maps.Values(w.secrets)))
}

// Join adds what another witness knows.
func (w *Witness) Join(other *Witness) {
	other.mu.Lock()
	known := maps.Clone(other.secrets)
	other.mu.Unlock()
	for secret, what := range known {
		w.Note(what, secret)
	}
}

// Search returns what of the secrets is in the haystack: each kind once, sorted. It looks at each place once, however
// many secrets there are.
func (w *Witness) Search(haystack []byte) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]bool{}
	w.search(haystack, found)
	for _, unpacked := range unpack(haystack) {
		w.search(unpacked, found)
	}
	return slices.Sorted(maps.Keys(found))
}

func (w *Witness) search(haystack []byte, found map[string]bool) {
	for i := window; i <= len(haystack); i++ {
		if what, ok := w.pieces[string(haystack[i-window:i])]; ok {
			found[what] = true
		}
	}
}

// unpack returns the content of each gzip stream that begins somewhere in b, as far as it can be read.
func unpack(b []byte) [][]byte {
	var all [][]byte
	for magic := []byte{0x1f, 0x8b, 8}; ; b = b[1:] {
		at := bytes.Index(b, magic)
		if at < 0 {
			return all
		}
		b = b[at:]
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			continue
		}
		unpacked, _ := io.ReadAll(io.LimitReader(r, maxUnpacked)) // a stream that is cut short tells too
		all = append(all, unpacked)
	}
}
