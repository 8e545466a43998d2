package core

import (
	"fmt"
	"testing"
)

func TestNamesThatAreRememberedAreBounded(t *testing.T) {
	var d directory
	for i := range 3 * rememberedNames {
		n := names{"default", "main", fmt.Sprint("account-", i)}
		want := GrantID(n.tenant, n.client, n.account)
		if id, remembered := d.id(n); remembered || id != want {
			t.Fatalf("%v is %s, remembered: %v", n, id, remembered)
		}
		d.remember(n, want)
		if id, remembered := d.id(n); !remembered || id != want {
			t.Fatalf("%v is remembered as %s: %v", n, id, remembered)
		}
	}
	if len(d.ids) != rememberedNames {
		t.Errorf("%d names are remembered", len(d.ids))
	}
}
