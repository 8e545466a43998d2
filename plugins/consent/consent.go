// Package consent answers a vendor's consent page as a person with a browser would, for demos and tests.
//
// It reads the page's form, fills in the fields as the page filled them, presses one of its buttons, and returns where
// the vendor then sends the browser, without going there. It needs no cookies, but keeps those of the client's jar.
// The page must be well-formed enough for encoding/xml's reading of HTML, which those of the sandboxes are; it is not
// a browser, and no vendor's real page is meant to be driven by it.
//
// It uses the standard library only.
package consent

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const pageLimit = 1 << 20

// Consent opens the authorization URL, presses the page's accept or deny button, and returns where the vendor
// redirects. A vendor that redirects at once, with a refusal or because the person has accepted before, shows no
// page: that redirect is returned. The returned URL may hold a code; it does not belong in a log, and neither do the
// texts that a vendor sends, so errors hold neither.
func Consent(ctx context.Context, client *http.Client, authorizationURL string, accept bool) (*url.URL, error) {
	return As(ctx, client, authorizationURL, "", accept)
}

// As is Consent by the person with that account: what they type into the page's account field. Empty: as the page
// has it.
func As(ctx context.Context, client *http.Client, authorizationURL, account string, accept bool) (*url.URL, error) {
	browser := *client
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizationURL, nil)
	if err != nil {
		return nil, errors.New("open the consent page: the authorization URL cannot be read")
	}
	resp, err := browser.Do(req)
	if err != nil {
		return nil, fmt.Errorf("open the consent page: %w", unaddressed(err))
	}
	defer closeBody(resp)
	if redirects(resp) {
		return location(resp)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("open the consent page: the vendor answers with status %d", resp.StatusCode)
	}
	f, err := readForm(io.LimitReader(resp.Body, pageLimit))
	if err != nil {
		return nil, err
	}
	return f.press(ctx, &browser, req.URL, account, accept)
}

// form is the one form of a consent page.
type form struct {
	action string
	fields url.Values
	// buttons are the values of the submit buttons' names: the page's decisions.
	buttons url.Values
}

func readForm(page io.Reader) (form, error) {
	f := form{fields: url.Values{}, buttons: url.Values{}}
	d := xml.NewDecoder(page)
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return form{}, errors.New("read the consent page: it is not well-formed")
		}
		if start, ok := t.(xml.StartElement); ok {
			f.add(start)
		}
	}
	if len(f.buttons) == 0 {
		return form{}, errors.New("read the consent page: it has no form to answer")
	}
	return f, nil
}

func (f *form) add(e xml.StartElement) {
	attr := func(name string) string {
		for _, a := range e.Attr {
			if strings.EqualFold(a.Name.Local, name) {
				return a.Value
			}
		}
		return ""
	}
	switch strings.ToLower(e.Name.Local) {
	case "form":
		f.action = attr("action")
	case "input":
		f.fields.Add(attr("name"), attr("value"))
	case "button":
		f.buttons.Add(attr("name"), attr("value"))
	}
}

// press submits the form with the button for the decision.
func (f *form) press(ctx context.Context, browser *http.Client, page *url.URL, account string, accept bool) (*url.URL, error) {
	decision := "deny"
	if accept {
		decision = "accept"
	}
	for name, values := range f.buttons {
		for _, v := range values {
			if v == decision {
				f.fields.Set(name, v)
			}
		}
	}
	if account != "" {
		f.fields.Set("account", account)
	}
	target, err := page.Parse(f.action)
	if err != nil {
		return nil, errors.New("answer the consent page: its form has an action that cannot be read")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(f.fields.Encode()))
	if err != nil {
		return nil, errors.New("answer the consent page: its form has an action that cannot be called")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := browser.Do(req)
	if err != nil {
		return nil, fmt.Errorf("answer the consent page: %w", unaddressed(err))
	}
	defer closeBody(resp)
	if !redirects(resp) {
		return nil, fmt.Errorf("answer the consent page: the vendor answers with status %d instead of a redirect", resp.StatusCode)
	}
	return location(resp)
}

func redirects(resp *http.Response) bool {
	return resp.StatusCode == http.StatusFound || resp.StatusCode == http.StatusSeeOther
}

func location(resp *http.Response) (*url.URL, error) {
	u, err := resp.Location()
	if err != nil {
		return nil, errors.New("follow the consent page: it redirects to nothing that can be read")
	}
	return u, nil
}

// unaddressed takes the URL, which holds the state, out of an error of net/http.
func unaddressed(err error) error {
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// closeBody reads what is left, so that the connection can be used again.
func closeBody(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, pageLimit))
	_ = resp.Body.Close()
}
