package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
)

// ErrChallenge is the reason for which Challenge refuses an authorization request: an invalid_request (RFC 7636 §4.4.1).
var ErrChallenge = errors.New("authserver: the code challenge is not one of the method S256")

// Challenge returns the code challenge of an authorization request (RFC 7636 §4.3), empty where there is none. It takes
// no method but S256: plain, which is also what a request without a method means, shows the verifier to whoever sees
// the request.
func Challenge(q url.Values) (string, error) {
	if !q.Has("code_challenge") && !q.Has("code_challenge_method") {
		return "", nil
	}
	challenge := q.Get("code_challenge")
	digest, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if q.Get("code_challenge_method") != "S256" || err != nil || len(digest) != sha256.Size {
		return "", ErrChallenge
	}
	return challenge, nil
}

// Proven reports whether a token request with the verifier, empty where it has none, is from whoever made the
// authorization request (RFC 7636 §4.6). A verifier for a code that was asked for without a challenge is no proof:
// somebody took the challenge off the request (RFC 9700 §2.1.1).
func (a Approval) Proven(verifier string) bool {
	if a.CodeChallenge == "" || verifier == "" {
		return a.CodeChallenge == verifier
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(a.CodeChallenge)) == 1
}
