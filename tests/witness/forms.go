package witness

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pieces are what a secret is looked for by: every window of its second half, since the first can be a name that is no
// secret, such as the grant's id in an OAuth state; and the end of each form.
func pieces(secret string) []string {
	var list []string
	for end := len(secret); end >= window && end-window >= len(secret)/2-window/2; end-- {
		list = append(list, secret[end-window:end])
	}
	for _, form := range forms(secret) {
		if len(form) >= window {
			list = append(list, form[len(form)-window:])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// forms are those that a secret takes on its way through URLs, JSON, headers, dumps and files.
func forms(secret string) []string {
	var all []string
	for _, text := range escaped(secret) {
		all = append(all, text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))))
		all = append(all, base64Forms(text)...)
		all = append(all, list(text, "%d", " "), list(text, "0x%x", ", "))
	}
	return all
}

// escaped are a secret and what is left of it in a URL, in JSON and in quotes.
func escaped(secret string) []string {
	quoted, _ := json.Marshal(secret) // a string can be marshalled
	all := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`), strings.Trim(strconv.Quote(secret), `"`),
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// base64Forms are those of a secret at each of the three places where it can stand in a longer text. The characters at
// both ends, which depend on its neighbours, are left out.
func base64Forms(text string) []string {
	var all []string
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			padded := make([]byte, before, before+len(text))
			encoded := encoding.EncodeToString(append(padded, text...))
			first := (before*8 + 5) / 6
			last := (before + len(text)) * 8 / 6
			all = append(all, encoded[first:last])
		}
	}
	return all
}

// list is a secret as Go prints bytes: in decimal numbers by %v, and in hexadecimal ones by %#v and in a stack.
func list(text, number, between string) string {
	numbers := make([]string, len(text))
	for i := range len(text) {
		numbers[i] = fmt.Sprintf(number, text[i])
	}
	return strings.Join(numbers, between)
}
