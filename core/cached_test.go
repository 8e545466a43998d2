package core_test

import (
	"testing"

	"github.com/esignd/esignd/core"
)

func TestCachedTokenByNamesIsThatOfTheGrantTheyName(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	info := w.imported()
	for range 2 { // the second time from what is remembered
		tok, ok := w.m.CachedToken(t.Context(), w.sel(), 0)
		if !ok || tok.Grant != info.Grant {
			t.Errorf("there is a token: %v, of grant %q", ok, tok.Grant)
		}
		for _, other := range []core.Selector{
			{Tenant: "other", Client: main, Account: w.sel().Account}, {Tenant: tenant, Client: main, Account: "bob@example.com"},
			{Tenant: tenant, Client: main, Account: w.sel().Account, Grant: info.Grant},
		} {
			if tok, ok := w.m.CachedToken(t.Context(), other, 0); ok {
				t.Errorf("%+v got the token of %s", other, tok.Account)
			}
		}
	}
	if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.m.CachedToken(t.Context(), w.sel(), 0); ok {
		t.Error("a revoked token is handed out")
	}
}
