package telemetry

import (
	"regexp"
	"slices"
	"strings"
)

// redacted stands where a secret stood.
const redacted = "[redacted]"

// maxText is the number of bytes of a text that are kept: what is longer is no sentence of ours.
const maxText = 8 << 10

// redactValue returns the text of an attribute as it may be shown under its key.
func redactValue(key, text string) string {
	name := keyName(key)
	switch {
	case text == "":
		return ""
	case name == "code" && isErrorCode(text):
		return text
	case namesSecret(name), name == "query":
		return redacted
	case namesURL(name):
		return scrub(cutQuery(text))
	default:
		return scrub(text)
	}
}

// wordBreaks are what sets "api_key", "apiKey" and "X-Api-Key" apart, in small letters.
var wordBreaks = strings.NewReplacer("_", "", "-", "", " ", "")

// keyName is the last part of a dotted key in small letters, without the breaks between its words:
// "http.request.header.x-api-key" becomes "xapikey".
func keyName(key string) string {
	return wordBreaks.Replace(strings.ToLower(key[strings.LastIndexByte(key, '.')+1:]))
}

// namesSecret reports whether values under the name are secret, whatever they look like.
func namesSecret(name string) bool {
	switch name {
	case "code", "assertion", "passphrase", "passwd", "credential", "credentials", "oauthstate", "codeverifier", "jwt":
		return true
	}
	for _, end := range []string{"token", "secret", "password", "authorization", "cookie", "apikey", "privatekey", "ticket", "assertion"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

func namesURL(name string) bool {
	return slices.Contains([]string{"full", "url", "uri", "target", "location", "path", "referer", "referrer"}, name) ||
		strings.HasSuffix(name, "url") || strings.HasSuffix(name, "uri")
}

var errorCode = regexp.MustCompile(`^(?:[a-z]+(?:_[a-z]+)*|[0-9]{1,3})$`)

// isErrorCode tells an error code, which may be shown, from an authorization code: words in small letters, as all of
// RFC 6749 are, or an HTTP status.
func isErrorCode(text string) bool { return len(text) <= 32 && errorCode.MatchString(text) }

var (
	urlText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]*`)
	// An OAuth state and a connect ticket are a grant id, a dot and a secret.
	ticketText = regexp.MustCompile(`(g_[0-9a-f]{40})\.[A-Za-z0-9_-]{8,}`)
	jwtText    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	schemeText = regexp.MustCompile(`(?i)\b(bearer\s+|basic\s+)([A-Za-z0-9+/=._~-]{8,})`)
	cookieText = regexp.MustCompile(`(?i)\b((?:set-)?cookie:\s*)[^\r\n]+`)
	// A pair is name=value as in a form, "name":"value" as in JSON, or name: and a value too long for a word.
	pairText = regexp.MustCompile(`(?i)([a-z0-9_-]*(?:token|secret|password|passwd|api[_-]?key|assertion|verifier|ticket|\bcode|[?&]state))` +
		`(=|\\?["']\s*:\s*\\?["']?|:\s*)([^\s"'&;,})\]\\]+)`)
)

// scrub returns a text without what looks like a secret: the query and the user of URLs, tokens, tickets, and values
// next to a name that tells.
func scrub(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "… [cut]"
	}
	if strings.Contains(text, "://") {
		text = urlText.ReplaceAllStringFunc(text, cleanURL)
	}
	if strings.Contains(text, "g_") && strings.Contains(text, ".") { // an id alone is no ticket
		text = ticketText.ReplaceAllString(text, "$1."+redacted)
	}
	if strings.Contains(text, "eyJ") {
		text = jwtText.ReplaceAllString(text, redacted)
	}
	if isSuspicious(text) {
		text = schemeText.ReplaceAllString(text, "${1}"+redacted)
		text = cookieText.ReplaceAllString(text, "${1}"+redacted)
		text = pairText.ReplaceAllStringFunc(text, cleanPair)
	}
	return text
}

// nameEnds are the ends of names for which schemeText, cookieText and pairText look.
var nameEnds = []string{"token", "secret", "password", "passwd", "key", "assertion", "verifier", "ticket", "code", "state", "cookie"}

// isSuspicious is a quick look that finds every text which the slow expressions could change. Nearly all texts are
// none of them, and the expressions cost tens of microseconds.
func isSuspicious(text string) bool {
	for i := range len(text) {
		switch text[i] {
		case '=', ':':
			if endsWithAny(strings.TrimRight(text[:i], " \t\r\n\f\"'\\"), nameEnds) {
				return true
			}
		case ' ', '\t', '\r', '\n', '\f':
			if endsWithAny(text[:i], []string{"bearer", "basic"}) {
				return true
			}
		}
	}
	return false
}

func endsWithAny(text string, ends []string) bool {
	return slices.ContainsFunc(ends, func(end string) bool {
		return len(text) >= len(end) && strings.EqualFold(text[len(text)-len(end):], end)
	})
}

// cleanPair redacts a match of pairText. A colon also ends the first part of an error text, so after a bare one only
// what is too long for a word is taken for a secret.
func cleanPair(pair string) string {
	m := pairText.FindStringSubmatch(pair)
	if m == nil {
		return redacted
	}
	name, separator, value := m[1], m[2], m[3]
	bare := separator[0] == ':'
	if bare && len(value) < 20 || strings.EqualFold(name, "code") && isErrorCode(value) {
		return pair
	}
	return name + separator + redacted
}

// cleanURL removes the user, the query and the fragment of an absolute URL, or of what looks like one: what cannot be
// parsed must be cleaned too.
func cleanURL(raw string) string {
	scheme, rest, _ := strings.Cut(raw, "://")
	rest = cutQuery(rest)
	host, path, hasPath := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if hasPath {
		host += "/"
	}
	return scheme + "://" + host + path
}

func cutQuery(text string) string {
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		return text[:i]
	}
	return text
}
