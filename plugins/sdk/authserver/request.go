package authserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The content types that a vendor may take.
const (
	Form      = "application/x-www-form-urlencoded"
	Multipart = "multipart/form-data"
	JSON      = "application/json"
)

// The reasons for which the parameters of a request cannot be used.
var (
	ErrContentType = errors.New("authserver: the body has a content type that the vendor does not take")
	ErrInURL       = errors.New("authserver: parameters are in the URL")
	ErrRepeated    = errors.New("authserver: a parameter is given more than once")
	ErrBody        = errors.New("authserver: the body cannot be read")
)

const bodyLimit = 64 << 10

// ReadParams reads the parameters of a POST from its body. The URL may have the query that is given and no other.
func ReadParams(r *http.Request, query string, kinds ...string) (url.Values, error) {
	if r.URL.RawQuery != query {
		return nil, ErrInURL
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(kinds, kind) {
		return nil, ErrContentType
	}
	body := http.MaxBytesReader(nil, r.Body, bodyLimit)
	var v url.Values
	switch kind {
	case Form:
		v, err = readForm(body)
	case Multipart:
		v, err = readMultipart(body, params["boundary"])
	default:
		v, err = readJSON(body)
	}
	if err != nil {
		return nil, ErrBody
	}
	return v, Once(v)
}

// Once refuses parameters that are given more than once (RFC 6749 §3.1, §3.2).
func Once(v url.Values) error {
	for _, values := range v {
		if len(values) > 1 {
			return ErrRepeated
		}
	}
	return nil
}

func readForm(body io.Reader) (url.Values, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(data))
}

// readMultipart reads the fields; files are not parameters.
func readMultipart(body io.Reader, boundary string) (url.Values, error) {
	v := url.Values{}
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return v, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		if part.FileName() == "" {
			v.Add(part.FormName(), string(data))
		}
	}
}

// readJSON reads one flat object of strings; null is the same as absent.
func readJSON(body io.Reader) (url.Values, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var object map[string]*string
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	v := url.Values{}
	for name, value := range object {
		if value != nil {
			v.Set(name, *value)
		}
	}
	return v, nil
}

// WriteJSON answers with v. Nothing that a sandbox says may be cached (RFC 6749 §5.1).
func WriteJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the sandbox cannot encode its answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// Bearer returns the access token of an API call (RFC 6750 §2.1); ok is false where there is none.
func Bearer(r *http.Request) (token string, ok bool) {
	const scheme = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) <= len(scheme) || !strings.EqualFold(h[:len(scheme)], scheme) {
		return "", false
	}
	return h[len(scheme):], true
}
