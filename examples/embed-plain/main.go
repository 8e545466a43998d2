// Embed-plain is a program that has a whole esignd in it: other programs ask it for tokens over NATS, and it asks for its
// own in process.
//
//	go run ./examples/embed-plain
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

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
	dir, err := os.MkdirTemp("", "embed-plain")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, stop, err := robot.Config(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return embed(ctx, cfg, out)
}

// embed runs a daemon until its token was refreshed.
func embed(ctx context.Context, cfg esignd.Config, out io.Writer) (err error) {
	told := make(chan core.Transition, 16)
	cfg.Hooks.Transition = func(_ context.Context, t core.Transition) { told <- t }
	d, err := esignd.New(cfg)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := d.Start(starting); err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, d.Close(stopping))
	}()

	inside, err := client.NewLocal(d.Manager(), "default")
	if err != nil {
		return err
	}
	if err := use(ctx, inside, out); err != nil {
		return err
	}
	if err := awaitRefresh(ctx, told, out); err != nil {
		return err
	}
	outside, closeConn, err := client.Dial(ctx, client.DialConfig{URL: d.NATSURL(), Tenant: "default"})
	if err != nil {
		return err
	}
	defer closeConn()
	return use(ctx, outside, out)
}

// awaitRefresh waits until the token was refreshed. Nobody has asked for that: esignd is ahead of the token's end.
func awaitRefresh(ctx context.Context, told <-chan core.Transition, out io.Writer) error {
	for {
		select {
		case t := <-told:
			_, _ = fmt.Fprintf(out, "hook: %s is %s, generation %d\n", t.Client, t.To, t.Generation)
			if t.Generation == 2 {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// use does not care where esignd is.
func use(ctx context.Context, esign client.API, out io.Writer) error {
	token, err := esign.Token(ctx, client.Selector{Client: "robot"})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "token: generation %d, %s, for %s\n", token.Generation, token.AccessToken, token.APIBaseURL)
	return err
}
