// Program worker runs the example's workflow and activities. What it would send to the owner of an account, it prints.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	esignd "github.com/esignd/esignd/workflow/temporal"
	"github.com/esignd/esignd/workflow/temporal/example"
)

func main() {
	var w example.Worker
	flag.StringVar(&w.NATS, "nats", "nats://127.0.0.1:4222", "where esignd is asked")
	flag.StringVar(&w.Tenant, "tenant", "default", "whose grants are used")
	flag.StringVar(&w.Address, "temporal", "127.0.0.1:7233", "Temporal's frontend")
	flag.StringVar(&w.Namespace, "namespace", "default", "Temporal's namespace")
	flag.Parse()
	if err := w.Run(context.Background(), &example.Activities{Tell: tell}); err != nil {
		log.Fatal(err)
	}
}

// tell stands for an e-mail.
func tell(_ context.Context, grant esignd.GrantRef, connectURL string) error {
	_, err := fmt.Printf("connect %s at %s\n", grant, connectURL)
	return err
}
