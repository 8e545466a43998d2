package core_test

import (
	"context"
	"fmt"

	"github.com/esignd/esignd/core"
)

// The engine alone, in one process: a grant that was consented to elsewhere is imported, and from then on its token
// is kept alive.
func Example() {
	ctx := context.Background()
	acme := newVendor() // any core.Adapter, such as dropboxsign.New(dropboxsign.Config{})
	m, err := core.New(core.Config{
		Adapters: core.AdapterMap{"acme": acme},
		Clients: []core.Client{{
			Name: "acme-main", Vendor: "acme", Tenants: []string{"default"},
			Credentials: core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret")},
		}},
	})
	if err != nil {
		panic(err)
	}
	if err := m.Start(ctx); err != nil {
		panic(err)
	}
	defer func() { _ = m.Close(ctx) }()
	refresh := acme.seed("a refresh token from before")
	if _, err := m.Import(ctx, core.ImportRequest{Tenant: "default", Client: "acme-main", Account: "alice", RefreshToken: refresh}); err != nil {
		panic(err)
	}
	token, err := m.Token(ctx, core.Selector{Tenant: "default", Client: "acme-main", Account: "alice"}, core.DefaultMinTTL)
	fmt.Println(token.AccessToken, token.Generation, err) // a Secret prints as such; Reveal returns it
	// Output: [redacted] 1 <nil>
}
