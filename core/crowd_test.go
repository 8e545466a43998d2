package core_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// crowd is a client with a few grants at a fleet of replicas; who calls the vendor is noted.
type crowd struct {
	*world
	replicas []*core.Manager

	mu    sync.Mutex
	calls []string // the refresh tokens that were presented
	at    []time.Time
	does  func(token string) error // nil: the vendor answers
}

// newCrowd imports a grant for each of accounts, whose tokens live an hour, a minute more each.
func newCrowd(t *testing.T, replicas int, accounts ...string) *crowd {
	c := &crowd{world: newWorld(t)}
	for i, name := range accounts {
		if _, err := c.m.Import(t.Context(), core.ImportRequest{
			Tenant: tenant, Client: main, Account: name, RefreshToken: c.vendor.seed("of " + name),
			AccessToken: core.NewSecret("given to " + name), ExpiresAt: time.Now().Add(time.Hour + time.Duration(i)*time.Minute),
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.replicas = []*core.Manager{c.m}
	for range replicas - 1 {
		c.replicas = append(c.replicas, c.another())
	}
	c.vendor.set(func(v *vendor) { v.before = c.before })
	return c
}

func (c *crowd) before(_ context.Context, r core.TokenRequest) error {
	c.mu.Lock()
	c.calls = append(c.calls, strings.TrimPrefix(r.RefreshToken.Reveal(), "of "))
	c.at = append(c.at, time.Now())
	does := c.does
	c.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	if does == nil {
		return nil
	}
	return does(r.RefreshToken.Reveal())
}

// vendorDoes sets what the vendor does from now on, and forgets the calls so far.
func (c *crowd) vendorDoes(does func(string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.does, c.calls, c.at = does, nil, nil
}

func (c *crowd) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *crowd) of(account string) core.Selector {
	return core.Selector{Tenant: tenant, Client: main, Account: account}
}

func (c *crowd) info(account string) core.GrantInfo {
	c.t.Helper()
	info, err := c.m.Grant(c.t.Context(), c.of(account))
	if err != nil {
		c.t.Fatal(err)
	}
	return info
}

// ofClient lists the events that are of no grant.
func (c *crowd) ofClient() []string {
	return slices.DeleteFunc(c.events.types(), func(e string) bool {
		return !strings.HasPrefix(e, "client.") && !strings.HasPrefix(e, "vendor.")
	})
}

func refusesClient(string) error {
	return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
}

func unavailable(string) error {
	return &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}
}

var team = []string{"first", "second", "third", "fourth", "fifth", "sixth"}
