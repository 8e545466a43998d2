//go:build heavy

package generic_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// person is somebody with a browser, who signs in to oidc-provider's pages and consents.
type person struct {
	t       *testing.T
	browser *http.Client
}

func newPerson(t *testing.T) person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return person{t, &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

var (
	formAction = regexp.MustCompile(`<form [^>]*action="([^"]+)"`)
	formPrompt = regexp.MustCompile(`name="prompt" value="([a-z]+)"`)
	abortLink  = regexp.MustCompile(`href="([^"]+/abort)"`)
)

// answer opens a consent page, signs in where that is asked, consents or not, and returns the parameters with which the
// server sends the browser to redirectURI.
func (p person) answer(page, redirectURI string, consent bool) url.Values {
	p.t.Helper()
	res := p.do(p.browser.Get(page))
	for range 12 {
		if res.StatusCode/100 == 3 {
			next, err := res.Location()
			if err != nil {
				p.t.Fatal(err)
			}
			if strings.HasPrefix(next.String(), redirectURI+"?") {
				return next.Query()
			}
			res = p.do(p.browser.Get(next.String()))
			continue
		}
		res = p.press(res, consent)
	}
	p.t.Fatal("the server's pages do not come to an end")
	return nil
}

// press answers one page: it signs in, and then consents or goes back.
func (p person) press(res *answered, consent bool) *answered {
	p.t.Helper()
	action, prompt := formAction.FindStringSubmatch(res.page), formPrompt.FindStringSubmatch(res.page)
	if res.StatusCode != http.StatusOK || action == nil || prompt == nil {
		p.t.Fatalf("no form: %s\n%s", res.Status, res.page)
	}
	if prompt[1] == "consent" && !consent {
		abort := abortLink.FindStringSubmatch(res.page)
		if abort == nil {
			p.t.Fatalf("no way back:\n%s", res.page)
		}
		return p.do(p.browser.Get(html.UnescapeString(abort[1])))
	}
	fields := url.Values{"prompt": {prompt[1]}}
	if prompt[1] == "login" {
		fields.Set("login", "jane")
		fields.Set("password", "any")
	}
	return p.do(p.browser.PostForm(html.UnescapeString(action[1]), fields))
}

// answered is a response whose page was read.
type answered struct {
	*http.Response
	page string
}

func (p person) do(res *http.Response, err error) *answered {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	return &answered{res, string(page)}
}
