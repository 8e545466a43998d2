package core_test

import (
	"net/url"
	"strings"
	"testing"
)

// ticketOf returns the ticket in a connect URL.
func ticketOf(t *testing.T, connectURL string) string {
	t.Helper()
	_, ticket, ok := strings.Cut(connectURL, "/connect/")
	if !ok {
		t.Fatalf("connect URL %q holds no ticket", connectURL)
	}
	return ticket
}

// answerTo returns the query with which the vendor sends a browser back that it got by redirectURL.
func answerTo(t *testing.T, redirectURL, code string) url.Values {
	t.Helper()
	u, err := url.Parse(redirectURL)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"state": {u.Query().Get("state")}, "code": {code}}
}
