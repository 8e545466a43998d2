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
	id.Account, id.User = readInfo(m.Headers().Get(requestInfo))
	if service, ok := strings.CutPrefix(id.Account, callerAccounts+tenant+"_"); ok {
		id.Service = service
	}
	return id
}

// readInfo reads what the server says of who asks, as encoding/json writes it there: a quote inside a text is escaped, so
// that a member's name with its quotes stands nowhere but at the member. It is read for each request, those of a flood
// too, and so without reflection where the two texts have no escapes.
func readInfo(text string) (account, user string) {
	account, plain := member(text, `"acc":"`)
	user, also := member(text, `"user":"`)
	if plain && also {
		return account, user
	}
	var info struct {
		Account string `json:"acc"`
		User    string `json:"user"`
	}
	if json.Unmarshal([]byte(text), &info) != nil {
		return "", ""
	}
	return info.Account, info.User
}

// member returns the text of a member of a JSON object; false where it has escapes.
func member(text, name string) (value string, plain bool) {
	_, rest, ok := strings.Cut(text, name)
	if !ok {
		return "", true
	}
	value, _, ok = strings.Cut(rest, `"`)
	return value, ok && !strings.Contains(value, `\`)
}
