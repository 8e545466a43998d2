//go:build heavy && linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"time"

	consentpage "github.com/esignd/esignd/plugins/consent"
)

// connect goes through the connect flow as the account's owner, who accepts.
func connect(ctx context.Context, connectURL, account string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{
		Jar: jar, Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	vendor, err := redirected(ctx, browser, connectURL)
	if err != nil {
		return fmt.Errorf("open the connect URL: %w", err)
	}
	callback, err := consentpage.As(ctx, browser, vendor, account, true)
	if err != nil {
		return err
	}
	result, err := redirected(ctx, browser, callback.String())
	if err != nil {
		return fmt.Errorf("go back from the vendor: %w", err)
	}
	_, err = redirected(ctx, browser, result)
	if errors.Is(err, errStays) {
		return nil
	}
	return err
}

// errStays says that a page redirects nowhere.
var errStays = errors.New("the page stays")

// redirected opens an address and returns where it redirects.
func redirected(ctx context.Context, browser *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusSeeOther, http.StatusFound:
		to, err := resp.Location()
		if err != nil {
			return "", err
		}
		return to.String(), nil
	case http.StatusOK:
		return "", errStays
	default:
		return "", fmt.Errorf("answered with status %d", resp.StatusCode)
	}
}
