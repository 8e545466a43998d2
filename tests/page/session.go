package page

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/plugins/consent"
)

// Session is somebody who follows a page: at a shell, in terminals beside it, and with a browser.
type Session struct {
	t         testing.TB
	shell     *Shell
	folder    string
	env       []string
	addresses []string // pairs, of a page's and what is in its place here
	last      *Block   // of the kind sh
	output    string   // of the last, where it has ended
	terminal  *terminal
}

// Config says where a page is followed.
type Config struct {
	Folder string
	Env    []string // beside PATH and TMPDIR
	// Addresses has, for addresses that a page names, those that are free here. They are replaced in what is typed and
	// written, and back in what is printed.
	Addresses map[string]string
}

// NewSession opens a shell in the folder. The test's end ends it and all that stays.
func NewSession(t testing.TB, c Config) *Session {
	t.Helper()
	s := &Session{t: t, folder: c.Folder, env: c.Env, shell: NewShell(t, c.Folder, c.Env...)}
	for from, to := range c.Addresses {
		s.addresses = append(s.addresses, from, to)
	}
	return s
}

// here is what a text of the page says here, and shown the reverse.
func (s *Session) here(text string) string { return strings.NewReplacer(s.addresses...).Replace(text) }

func (s *Session) shown(text string) string {
	var back []string
	for i := 0; i < len(s.addresses); i += 2 {
		back = append(back, s.addresses[i+1], s.addresses[i])
	}
	return strings.NewReplacer(back...).Replace(text)
}

// Do does what a reader does with a block: "writes" its file, "types" it, "compares" it with the output above, or just
// "reads" it.
func (s *Session) Do(b Block) (did string, err error) {
	switch {
	case b.RunBy != "":
		return "reads", nil
	case b.File != "":
		return "writes", s.write(b)
	case b.Kind == "sh" && b.Stays:
		s.last, s.output = &b, ""
		s.terminal, err = s.open(b.Text)
		return "types", err
	case b.Kind == "sh":
		s.last = &b
		s.output, err = s.shell.Run(s.here(b.Text))
		return "types", err
	case (b.Kind == "text" || b.Kind == "json") && b.Message == "" && s.last != nil:
		return "compares", s.compare(b)
	}
	return "reads", nil
}

// Output is what the last block printed that was typed.
func (s *Session) Output() string {
	if s.last != nil && s.last.Stays {
		return s.terminal.output.String()
	}
	return s.output
}

func (s *Session) compare(b Block) error {
	expect := Expect
	if b.Kind == "json" {
		expect = ExpectJSON
	}
	if s.last.Stays {
		return s.terminal.await(func(output string) bool { return Begins(s.shown(output), b.Text) })
	}
	if err := expect(s.shown(s.output), b.Text); err != nil || !b.Link {
		return err
	}
	return s.connect()
}

// write writes a file into the folder in which the shell stands.
func (s *Session) write(b Block) error {
	folder, err := s.shell.Run("pwd\n")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(strings.TrimSpace(folder), b.File), []byte(s.here(b.Text)), 0o644)
}

// Logs are what the terminals wrote that stay, and the files NAME.log of the folders that the page made.
func (s *Session) Logs() string {
	var all strings.Builder
	if s.terminal != nil {
		fmt.Fprintf(&all, "the last terminal:\n%s\n", s.terminal.output.String())
	}
	found, _ := filepath.Glob(filepath.Join(s.folder, "*", "*.log")) // the pattern is in order
	for _, path := range found {
		content, err := os.ReadFile(path)
		if err != nil {
			content = []byte(err.Error())
		}
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(path), content)
	}
	return all.String()
}

var connectURL = regexp.MustCompile(`https?://[^\s"]+/connect/[^\s"]+`)

// connect opens the link of the last output in a browser, and consents.
func (s *Session) connect() error {
	link := connectURL.FindString(s.output)
	if link == "" {
		return errors.New("the output has no link to connect at")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page, err := follow(browser, link)
	if err != nil {
		return err
	}
	back, err := consent.Consent(s.shell.ctx, browser, page.String(), true)
	if err != nil {
		return err
	}
	result, err := follow(browser, back.String())
	if err != nil {
		return err
	}
	if status := result.Query().Get("status"); status != "connected" {
		return fmt.Errorf("the consent ended as %q", status)
	}
	return nil
}

// follow opens an address and returns where it redirects.
func follow(browser *http.Client, address string) (*url.URL, error) {
	resp, err := browser.Get(address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.Location()
}
