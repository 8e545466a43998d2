package faultproxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
)

// Faults returns all faults that the package knows, in a fixed order. Their names are stable.
func Faults() []Fault {
	return slices.Concat(refusals(), failures(), connections(), bodies(), redirects(), tokenSets())
}

// ByName returns the one of [Faults] with this name; ok is false where there is none.
func ByName(name string) (f Fault, ok bool) {
	all := Faults()
	i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return all[i], true
}

// oauthError is a refusal as RFC 6749 §5.2 words it.
func oauthError(code string) string {
	return `{"error":"` + code + `","error_description":"` + Canary + `","error_uri":"https://` + Canary + `.example/"}`
}

const bareError = `{"message":"` + Canary + `"}`

// refusals are complete 4xx.
func refusals() []Fault {
	return []Fault{
		Says("400 invalid_grant", 400, nil, oauthError("invalid_grant")),
		Says("400 invalid_request", 400, nil, oauthError("invalid_request")),
		Says("400 unknown code", 400, nil, oauthError(Canary)),
		Says("400 no code", 400, nil, bareError),
		Says("400 HTML", 400, http.Header{"Content-Type": {"text/html"}}, "<title>"+Canary+"</title>"),
		Says("400 invalid_client", 400, nil, oauthError("invalid_client")),
		Says("401 invalid_client", 401, http.Header{"Www-Authenticate": {`Basic realm="` + Canary + `"`}}, oauthError("invalid_client")),
		Says("401 no code", 401, http.Header{"Www-Authenticate": {`Bearer error="invalid_token", error_description="` + Canary + `"`}}, bareError),
		Says("403 unauthorized_client", 403, nil, oauthError("unauthorized_client")),
		Says("403 no code", 403, nil, bareError),
		Says("429 no wait", 429, nil, bareError),
		Says("429 Retry-After seconds", 429, http.Header{"Retry-After": {"90"}}, bareError),
		{Name: "429 Retry-After date", Respond: func(x *Exchange) {
			now := time.Now().UTC()
			_ = x.Send(says(429, http.Header{
				"Date":        {now.Format(http.TimeFormat)},
				"Retry-After": {now.Add(90 * time.Second).Format(http.TimeFormat)},
			}, bareError))
		}},
		Says("429 retryAfter", 429, nil, `{"code":"THROTTLING_TOO_MANY_REQUESTS","message":"`+Canary+`","retryAfter":90}`),
		Says("429 Retry-After nonsense", 429, http.Header{"Retry-After": {Canary}}, bareError),
		Says("429 Retry-After a year", 429, http.Header{"Retry-After": {"31536000"}}, bareError),
	}
}

// failures are complete 5xx.
func failures() []Fault {
	html := http.Header{"Content-Type": {"text/html"}}
	return []Fault{
		Says("500", 500, nil, `{"error":"server_error","error_description":"`+Canary+`"}`),
		Says("500 invalid_grant", 500, nil, oauthError("invalid_grant")),
		Says("502", 502, html, "<h1>"+Canary+"</h1>"),
		Says("503", 503, html, "<h1>"+Canary+"</h1>"),
		Says("503 Retry-After", 503, http.Header{"Retry-After": {"90"}}, bareError),
		Says("504", 504, html, "<h1>"+Canary+"</h1>"),
	}
}

// connections are those that carry no complete answer.
func connections() []Fault {
	return []Fault{
		{Name: "slow headers", Respond: func(x *Exchange) {
			x.Drip([]byte("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat(Canary, 100)))
		}},
		{Name: "a byte a second", Respond: dripAnswer},
		{Name: "hang", Respond: func(x *Exchange) { <-x.Gone() }},
		{Name: "hang in the body", Respond: func(x *Exchange) {
			_, _ = io.WriteString(x.Conn, head(says(200, nil, ""), "Content-Length: 5000\r\n")+`{"note":"`+Canary)
			<-x.Gone()
		}},
		{Name: "reset", Respond: (*Exchange).Reset},
		{Name: "reset in the body", Respond: func(x *Exchange) {
			_, _ = io.WriteString(x.Conn, head(says(200, nil, ""), "Content-Length: 5000\r\n")+`{"note":"`+Canary)
			x.Reset()
		}},
		{Name: "closed", Respond: func(*Exchange) {}},
		{Name: "not HTTP", Respond: func(x *Exchange) { _, _ = io.WriteString(x.Conn, Canary+"\r\n\r\n") }},
		{Name: "headers without end", Respond: endlessHeaders},
		{Name: "refused connection", way: refused},
		{Name: "TLS untrusted", way: untrusted},
		{Name: "TLS not spoken", way: garbled},
	}
}

// dripAnswer is the sandbox's answer, at its head as fast as ever and at its body a byte at a time.
func dripAnswer(x *Exchange) {
	a, err := x.Forward()
	if err != nil {
		return
	}
	if _, err := io.WriteString(x.Conn, head(a, fmt.Sprintf("Content-Length: %d\r\n", len(a.Body)))); err == nil {
		x.Drip(a.Body)
	}
}

func endlessHeaders(x *Exchange) {
	_, err := io.WriteString(x.Conn, "HTTP/1.1 200 OK\r\n")
	line := []byte("X-More: " + strings.Repeat(Canary, 40) + "\r\n")
	for range 32 << 10 {
		if err != nil {
			return
		}
		_, err = x.Conn.Write(line)
	}
}

// bodies are a 200 that holds no token set.
func bodies() []Fault {
	return []Fault{
		{Name: "truncated JSON", Respond: func(x *Exchange) { cut(x, true) }},
		{Name: "truncated JSON, right length", Respond: func(x *Exchange) { cut(x, false) }},
		Says("HTML in a 200", 200, http.Header{"Content-Type": {"text/html"}}, "<!doctype html><title>Sign in</title>"+Canary),
		Says("empty 200", 200, nil, ""),
		Says("empty object", 200, nil, `{"note":"`+Canary+`"}`),
		Says("204", 204, nil, ""),
		{Name: "64 MiB body", Respond: flood},
		{Name: "compressed bomb", Respond: bomb},
		Says("error in a 200", 200, nil, oauthError("invalid_grant")),
		Says("business error in a 200", 200, nil, `{"code":"1000004","message":"`+Canary+`","data":null}`),
		Changes("error beside a token", func(a *Answer) {
			a.Body = append([]byte(`{"error":"invalid_grant","error_description":"`+Canary+`",`), bytes.TrimPrefix(a.Body, []byte("{"))...)
		}),
		Changes("UTF-16", func(a *Answer) {
			a.Header.Set("Content-Type", "application/json; charset=utf-16")
			a.Body = utf16le(string(a.Body))
		}),
	}
}

// cut sends half of the sandbox's answer, with the length of the whole where that is to be promised.
func cut(x *Exchange, promised bool) {
	a, err := x.Forward()
	if err != nil {
		return
	}
	whole := append([]byte(`{"note":"`+Canary+`",`), bytes.TrimPrefix(a.Body, []byte("{"))...)
	a.Body = whole[:len(whole)/2]
	length := len(a.Body)
	if promised {
		length = len(whole)
	}
	_, _ = io.WriteString(x.Conn, head(a, fmt.Sprintf("Content-Length: %d\r\n", length))+string(a.Body))
}

// flood is JSON that goes on for 64 MiB, with a token set in front.
func flood(x *Exchange) {
	const size = 64 << 20
	start := `{"access_token":"` + Canary + `","token_type":"Bearer","expires_in":3600,"pad":"`
	_, err := io.WriteString(x.Conn, head(says(200, nil, ""), fmt.Sprintf("Content-Length: %d\r\n", len(start)+size+2))+start)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	for range size / len(chunk) {
		if err != nil {
			return // the caller has had enough
		}
		_, err = x.Conn.Write(chunk)
	}
	_, _ = io.WriteString(x.Conn, `"}`)
}

// bomb answers with a GiB of JSON in a MiB of gzip members.
func bomb(x *Exchange) {
	_ = x.Send(Answer{Status: 200, Header: http.Header{
		"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"},
	}, Body: bombBody()})
}

// bombBody has a token set in front.
var bombBody = sync.OnceValue(func() []byte {
	pad := zip(bytes.Repeat([]byte("x"), 1<<20))
	body := zip([]byte(`{"access_token":"` + Canary + `","token_type":"Bearer","expires_in":3600,"pad":"`))
	body = append(body, bytes.Repeat(pad, 1<<10)...)
	return append(body, zip([]byte(`"}`))...)
})

func zip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func utf16le(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit), byte(unit>>8)) //nolint:gosec // its halves
	}
	return b
}

// redirects lead to another host, with an answer in their own body too.
func redirects() []Fault {
	to := func(name string, status int) Fault {
		return Fault{Name: name, Respond: func(x *Exchange) {
			_ = x.Send(says(status, http.Header{"Location": {x.Elsewhere + "/token?" + Canary}},
				`{"access_token":"`+Canary+`","token_type":"Bearer","expires_in":3600}`))
		}}
	}
	return []Fault{to("302 elsewhere", 302), to("303 elsewhere", 303), to("307 elsewhere", 307), to("308 elsewhere", 308)}
}

// tokenSets are answers with a token in them that says odd things about it.
func tokenSets() []Fault {
	expires := func(name string, v any) Fault { return SetsMembers(name, map[string]any{"expires_in": v}) }
	return []Fault{
		expires("expires_in missing", nil),
		expires("expires_in zero", 0),
		expires("expires_in negative", -3600),
		expires("expires_in string", "1800"),
		expires("expires_in word", Canary),
		expires("expires_in huge", 1e18),
		SetsMembers("no refresh_token", map[string]any{"refresh_token": nil}),
		SetsMembers("scope a sentence", map[string]any{"scope": "\"" + Canary + "\" \\" + Canary}),
		Changes("duplicate keys", func(a *Answer) {
			inner := bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimSpace(a.Body), []byte("{")), []byte("}"))
			a.Body = slices.Concat([]byte(`{"access_token":"`+Canary+`","expires_in":1,`), inner, []byte(`,"Access_Token":"`+Canary+`","EXPIRES_IN":1}`))
		}),
		Changes("Latin-1", func(a *Answer) {
			a.Header.Set("Content-Type", "text/plain; charset=iso-8859-1")
			a.Body = append([]byte("{\"note\":\"caf\xe9 "+Canary+"\","), bytes.TrimPrefix(a.Body, []byte("{"))...)
		}),
		Changes("no content type", func(a *Answer) { a.Header.Del("Content-Type") }),
	}
}
