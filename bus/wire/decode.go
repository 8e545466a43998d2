package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/esignd/esignd/core"
)

// Request is the type of a request.
type Request interface {
	Selector | TokenGetRequest | TokenReportRequest | TokenRevokeRequest | AuthorizeRequest | ExchangeRequest |
		ImportRequest | ListRequest | AccountRequest
}

// checker is a request with rules that its types do not tell.
type checker interface{ check() error }

// Check returns what is wrong with a request that was made here and not decoded, as Decode would.
func Check[T Request](req T) error {
	if c, ok := any(req).(checker); ok {
		return c.check()
	}
	return nil
}

// Decode reads a request strictly. An empty body stands for {}. The error is a *core.Error with InvalidRequest; it
// names the field at fault and holds no value.
func Decode[T Request](data []byte) (T, error) {
	var req T
	if err := decodeInto(data, reflect.ValueOf(&req).Elem()); err != nil {
		var none T
		return none, err
	}
	if c, ok := any(req).(checker); ok {
		if err := c.check(); err != nil {
			var none T
			return none, err
		}
	}
	return req, nil
}

// member is one field of a request.
type member struct {
	name     string
	value    reflect.Value
	required bool
	given    bool
}

// members lists the fields of a struct in the order in which they are declared, those of embedded structs among them.
func members(v reflect.Value) []*member {
	var ms []*member
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			ms = append(ms, members(v.Field(i))...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		ms = append(ms, &member{name: name, value: v.Field(i), required: options == ""})
	}
	return ms
}

func decodeInto(data []byte, v reflect.Value) error {
	ms := members(v)
	err := eachField(data, func(name string, raw json.RawMessage) error {
		i := slices.IndexFunc(ms, func(m *member) bool { return m.name == name })
		if i < 0 {
			return fieldError(name, "this field is unknown here; known are "+names(ms))
		}
		ms[i].given = true
		return ms[i].decode(raw)
	})
	if err != nil {
		return err
	}
	for _, m := range ms {
		if m.required && (!m.given || m.value.IsZero()) {
			return fieldError(m.name, "this field is missing or empty")
		}
	}
	return nil
}

func names(ms []*member) string {
	var all []string
	for _, m := range ms {
		all = append(all, m.name)
	}
	return strings.Join(all, ", ")
}

// eachField calls fn with each field of a JSON object, in order, until it returns an error. A field that comes twice is
// an error.
func eachField(data []byte, fn func(name string, raw json.RawMessage) error) error {
	switch {
	case len(data) > MaxRequest:
		return core.Errorf(core.InvalidRequest, "the request has %d bytes; at most %d are read", len(data), MaxRequest)
	case len(data) == 0:
		return nil
	case !utf8.Valid(data):
		return core.Errorf(core.InvalidRequest, "the request is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return core.Errorf(core.InvalidRequest, "the request is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return core.Errorf(core.InvalidRequest, "the request is not valid JSON")
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return fieldError(name, "what follows is not valid JSON")
		}
		if seen[name] {
			return fieldError(name, "this field is given twice")
		}
		seen[name] = true
		if err := fn(name, raw); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return core.Errorf(core.InvalidRequest, "the request is not valid JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return core.Errorf(core.InvalidRequest, "something follows the request's JSON object")
	}
	return nil
}

// fieldError names a field that came from outside: its name is cut, and safe to print.
func fieldError(name, text string) error {
	const longest = 64
	shown := name
	if len(shown) > longest {
		shown = strings.ToValidUTF8(shown[:longest], "") + "…"
	}
	if quoted := strconv.Quote(shown); quoted != `"`+shown+`"` {
		shown = quoted
	}
	return &core.Error{Code: core.InvalidRequest, Field: shown, Description: shown + ": " + text}
}

// decode reads the field's value. null is no value of any type.
func (m *member) decode(raw json.RawMessage) error {
	v := m.value
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if p, ok := v.Addr().Interface().(*Params); ok {
		return p.decode(m.name, raw)
	}
	want, wanted := wants(v)
	if got := kindOf(raw); got != want {
		return fieldError(m.name, fmt.Sprintf("%s is wanted here, not %s", wanted, got))
	}
	if want == kindArray && !arrayOf(raw, kindString) {
		return fieldError(m.name, wanted+" is wanted here")
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		return fieldError(m.name, wanted+" is wanted here")
	}
	return nil
}

// kind is a JSON type, as a sentence has it.
type kind string

const (
	kindString kind = "a string"
	kindNumber kind = "a number"
	kindBool   kind = "a boolean"
	kindArray  kind = "an array"
	kindObject kind = "an object"
	kindNull   kind = "null"
)

// kindOf tells the type of a valid JSON value.
func kindOf(raw json.RawMessage) kind {
	switch raw[0] {
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case '[':
		return kindArray
	case '{':
		return kindObject
	case 'n':
		return kindNull
	default:
		return kindNumber
	}
}

// wants tells which JSON type v is read from, and what to call it.
func wants(v reflect.Value) (kind, string) {
	if v.Type() == reflect.TypeFor[Time]() {
		return kindString, "a time such as 2006-01-02T15:04:05Z"
	}
	switch v.Kind() {
	case reflect.Bool:
		return kindBool, string(kindBool)
	case reflect.Int64:
		return kindNumber, "a whole number"
	case reflect.Uint64:
		return kindNumber, "a whole number, not negative,"
	case reflect.Slice:
		return kindArray, "an array of strings"
	default: // strings, and Secret
		return kindString, string(kindString)
	}
}

// arrayOf reports whether every element of a valid JSON array is of the kind.
func arrayOf(raw json.RawMessage, k kind) bool {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return false
	}
	return !slices.ContainsFunc(elements, func(e json.RawMessage) bool { return kindOf(e) != k })
}

// decode reads an object of strings and arrays of strings.
func (p *Params) decode(field string, raw json.RawMessage) error {
	if got := kindOf(raw); got != kindObject {
		return fieldError(field, fmt.Sprintf("%s is wanted here, not %s", kindObject, got))
	}
	params := Params{}
	err := eachField(raw, func(name string, value json.RawMessage) error {
		switch k := kindOf(value); {
		case k == kindString, k == kindArray && arrayOf(value, kindString):
		default:
			return fieldError(field+"."+name, "a string or an array of strings is wanted here")
		}
		var values ParamValues
		if err := json.Unmarshal(value, &values); err != nil {
			return fieldError(field+"."+name, "a string or an array of strings is wanted here")
		}
		params[name] = values
		return nil
	})
	if len(params) > 0 {
		*p = params
	}
	return err
}

// MarshalJSON returns one value as a string and more as an array.
func (v ParamValues) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]Secret(v))
}

// UnmarshalJSON reads a string or an array of strings.
func (v *ParamValues) UnmarshalJSON(b []byte) error {
	if kindOf(b) == kindString {
		*v = make(ParamValues, 1)
		return json.Unmarshal(b, &(*v)[0])
	}
	return json.Unmarshal(b, (*[]Secret)(v))
}
