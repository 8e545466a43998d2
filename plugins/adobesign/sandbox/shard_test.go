package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMovedAccountsAreRefusedAtTheOldShard(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, refresh := connect(t, s)
	shard, err := s.MoveShard()
	if err != nil {
		t.Fatal(err)
	}
	old := at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/users/me", access))
	if old.Status != http.StatusForbidden || old.Text("code") != "INVALID_API_ACCESS_POINT" {
		t.Errorf("at the old shard: %d %q", old.Status, old.Text("code"))
	}
	base := at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/baseUris", access)).Text("apiAccessPoint")
	if base != shard+"/" {
		t.Errorf("baseUris says %q, want %q", base, shard+"/")
	}
	if a := at.Do(t, at.Get(t, base+"api/rest/v6/users/me", access)); a.Status != http.StatusOK {
		t.Errorf("at the new shard: %d", a.Status)
	}
	form := refreshParams(s, refresh)
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", form)); a.Status != http.StatusForbidden || a.Text("code") != "INVALID_API_ACCESS_POINT" {
		t.Errorf("refresh at the old shard: %d %q", a.Status, a.Text("code"))
	}
	if a := at.Do(t, at.Form(t, shard+"/oauth/v2/refresh", form)); a.Status != http.StatusOK {
		t.Errorf("refresh at the new shard: %d", a.Status)
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", exchangeParams(t, s))); a.Text("api_access_point") != base {
		t.Errorf("a consent after the move is answered %d, and names %q", a.Status, a.Text("api_access_point"))
	}
}

func TestOldShardMayGoOnRefreshing(t *testing.T) {
	s := start(t, sandbox.Config{OldShardRefreshes: true})
	_, refresh := connect(t, s)
	if _, err := s.MoveShard(); err != nil {
		t.Fatal(err)
	}
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh)))
	if a.Status != http.StatusOK || live(t, s, a.Text("access_token")) {
		t.Errorf("refresh at the old shard: %d, or the REST API there takes the token", a.Status)
	}
}
