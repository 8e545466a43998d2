package system

import (
	"bytes"
	"encoding/json"
	"mime"
	"mime/multipart"
	"net/url"
)

// Parameters reads a body of any kind that a vendor takes or gives. What is no text in JSON is left out.
func Parameters(contentType string, body []byte) url.Values {
	kind, options, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-www-form-urlencoded":
		v, _ := url.ParseQuery(string(body))
		return v
	case "multipart/form-data":
		form, err := multipart.NewReader(bytes.NewReader(body), options["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return nil
		}
		return form.Value
	case "application/json":
		var object map[string]any
		_ = json.Unmarshal(body, &object)
		v := url.Values{}
		for name, value := range object {
			if text, ok := value.(string); ok {
				v.Set(name, text)
			}
		}
		return v
	}
	return nil
}
