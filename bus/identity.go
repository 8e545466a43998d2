package bus

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go/micro"
)

// Identity says who asks. Tenant is that of the request's subject, and always there.
type Identity struct {
	Tenant string
	// Service is the name of a service that nats.auth lists, where NATS says that it is one.
	Service string
	// Account and User are the NATS account and user (an NKey's public part, a name) of the request, where it came from
	// an account other than esignd's own and NATS tells.
	Account, User string
}

type identityKey struct{}

// IdentityOf returns who made the request that a context is of: that of the Manager's methods, where the Service calls
// them. false: it is of none.
func IdentityOf(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

func withIdentity(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

const (
	// importReply begins the reply subject that the server makes for a request from another account. It refuses such a
	// reply subject of a program's own, and nobody can subscribe to one from elsewhere.
	importReply = "_R_."
	// requestInfo is the header in which the server says who asks from another account.
	requestInfo = "Nats-Request-Info"
)

// identityOf reads who asks. Within an account the header is as the program that asks wrote it, and says nothing.
func identityOf(m micro.Request, tenant string) Identity {
	id := Identity{Tenant: tenant}
	if !strings.HasPrefix(m.Reply(), importReply) {
		return id
	}
	var info struct {
		Account string `json:"acc"`
		User    string `json:"user"`
	}
	if json.Unmarshal([]byte(m.Headers().Get(requestInfo)), &info) != nil {
		return id
	}
	id.Account, id.User = info.Account, info.User
	id.Service, _ = strings.CutPrefix(info.Account, callerAccounts+tenant+"_")
	if id.Service == info.Account {
		id.Service = ""
	}
	return id
}
