package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/oauth2"

	"github.com/esignd/esignd/bus/client"
)

// service is what the Go on the pages is part of. The long tests run it against `esignd dev`.
type service struct {
	esign *client.Client
	who   client.Selector
	// sendToOwner sends the account's owner a link.
	sendToOwner func(link string) error
	// heard hears of an event.
	heard func(client.Event) error
}

func connect(url string) (*client.Client, *nats.Conn, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	esign, err := client.New(client.Config{Conn: nc, Tenant: "default"})
	return esign, nc, err
}

// ask gets a token, and says what to do where there is none.
func (s service) ask(ctx context.Context) (string, error) {
	token, err := s.esign.Token(ctx, s.who)
	var answer *client.Error
	switch {
	case err == nil:
		return token.AccessToken.Reveal(), nil
	case !errors.As(err, &answer):
		return "", err // NATS, or ctx
	case errors.Is(err, client.ReauthorizationRequired):
		return "", s.sendToOwner(answer.ConnectURL)
	case errors.Is(err, client.NotFound):
		begun, err := s.esign.Authorize(ctx, client.AuthorizeRequest{Client: s.who.Client, Account: s.who.Account})
		if err != nil {
			return "", err
		}
		return "", s.sendToOwner(begun.ConnectURL)
	case errors.Is(err, client.TemporarilyUnavailable):
		return "", fmt.Errorf("ask again in %s: %w", answer.RetryAfter, err)
	}
	return "", err
}

// call calls the vendor with what puts a token on each request.
func (s service) call(ctx context.Context, url string) (int, error) {
	vendor := &http.Client{Transport: s.esign.Transport(s.who, nil)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := vendor.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// library is for libraries of a vendor.
func (s service) library(ctx context.Context) *http.Client {
	source := s.esign.TokenSource(ctx, s.who, client.MinTTL(5*time.Second))
	return oauth2.NewClient(ctx, source)
}

// watch hears of tokens that ended, and goes on where it stopped.
func (s service) watch(ctx context.Context) error {
	return s.esign.Watch(ctx, client.WatchConfig{
		Types:   []client.EventType{client.TokenRevoked, client.GrantReauthorizationRequired},
		Durable: "billing",
		Since:   time.Now().Add(-time.Hour), // of the first start
	}, func(e client.Event) error {
		return s.heard(e) // nil: this event was heard, and the next one comes
	})
}

var _ = []any{connect, service.ask, service.call, service.library, service.watch}
