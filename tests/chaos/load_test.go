//go:build heavy && linux

package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

const (
	callers = 8
	// patience is how long a caller waits for an answer.
	patience = 3 * time.Second
)

// underLoad has callers ask for tokens, and use each at once, while fn ends what they ask. Owners whose grant needs
// them connect again.
func (a *arena) underLoad(fn func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range callers {
		cl := a.client(patience)
		asking.Go(func() {
			for ctx.Err() == nil {
				a.ask(ctx, cl, a.accounts[rand.IntN(len(a.accounts))])
				pause(ctx, rand.N(30*time.Millisecond))
			}
		})
	}
	fn()
}

// ask asks for a token, now and then a new one, and calls the vendor with it.
func (a *arena) ask(ctx context.Context, cl *client.Client, acc *account) {
	ask := cl.Token
	if rand.IntN(50) == 0 {
		ask = func(ctx context.Context, sel client.Selector, _ ...client.TokenOption) (client.Token, error) {
			return cl.Refresh(ctx, sel)
		}
	}
	h := hand{asked: time.Now()}
	tok, err := ask(ctx, acc.selector())
	h.received = time.Now()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.book.failed(err)
		a.connectAgain(ctx, acc, err)
	default:
		a.book.got(tok)
		a.use(ctx, acc, tok, h)
	}
}

// use calls the vendor's API. That the vendor does not answer says nothing of the token.
func (a *arena) use(ctx context.Context, acc *account, tok client.Token, h hand) {
	req, err := system.APIRequest(ctx, tok)
	if err != nil {
		return
	}
	h.called = time.Now()
	resp, err := a.api.Do(req)
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		h.called = time.Now() // at the latest
		a.book.refused(acc.door, tok, h)
	}
}

// connectAgain has the owner connect where that is what the answer asks for. What fails is tried again by the next
// caller.
func (a *arena) connectAgain(ctx context.Context, acc *account, err error) {
	var e *client.Error
	if !errors.As(err, &e) || e.Code != client.ReauthorizationRequired || e.ConnectURL == "" || !acc.connecting.TryLock() {
		return
	}
	defer acc.connecting.Unlock()
	_ = connect(ctx, e.ConnectURL, acc.email)
}
