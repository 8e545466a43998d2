// Embed-fx is a program, wired with fx, that has a whole esignd in it.
//
//	go run ./examples/embed-fx
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"go.uber.org/fx"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/examples/internal/robot"
)

func main() {
	if robot.Serve() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "embed-fx")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, stop, err := robot.Config(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	j := &journal{refreshed: make(chan core.Transition, 1)}
	app := program(cfg, j, out)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := app.Start(starting); err != nil {
		return err
	}
	select {
	case t := <-j.refreshed:
		_, err = fmt.Fprintf(out, "hook: %s is %s, generation %d\n", t.Client, t.To, t.Generation)
	case <-ctx.Done():
		err = ctx.Err()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, app.Stop(stopping))
}

// program is the application: esignd is one of its modules, and its engine is there for the others.
func program(cfg esignd.Config, j *journal, out io.Writer) *fx.App {
	cfg.Hooks.Transition = j.note
	return fx.New(
		fx.Supply(cfg), esignd.Module,
		fx.Provide(
			func(m *core.Manager) (client.API, error) { return client.NewLocal(m, "default") },
			func() *slog.Logger { return slog.New(slog.NewTextHandler(out, nil)) }, // the program's own
		),
		fx.Invoke(func(lc fx.Lifecycle, esign client.API, log *slog.Logger) {
			lc.Append(fx.StartHook(func(ctx context.Context) error { return use(ctx, esign, log) }))
		}),
		fx.NopLogger,
	)
}

// journal notes what the hook is told.
type journal struct{ refreshed chan core.Transition }

func (j *journal) note(_ context.Context, t core.Transition) {
	if t.Event == core.TokenIssued && t.Generation == 2 {
		j.refreshed <- t
	}
}

// use asks for a token as soon as the program starts: esignd has started before, since it is needed here.
func use(ctx context.Context, esign client.API, log *slog.Logger) error {
	token, err := esign.Token(ctx, client.Selector{Client: "robot"})
	if err != nil {
		return err
	}
	log.Info("there is a token", "generation", token.Generation, "token", token.AccessToken)
	return nil
}
