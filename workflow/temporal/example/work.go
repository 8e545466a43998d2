package example

import (
	"context"

	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/esignd/esignd/bus/client"
	esignd "github.com/esignd/esignd/workflow/temporal"
)

// Worker says where a worker finds what it needs.
type Worker struct {
	NATS, Tenant       string // esignd's address, and whose grants are used
	Address, Namespace string // of Temporal
}

// Run works until the process is interrupted.
func (o Worker) Run(ctx context.Context, a *Activities) error {
	esign, closeConn, err := client.Dial(ctx, client.DialConfig{URL: o.NATS, Tenant: o.Tenant, Name: "signatures"})
	if err != nil {
		return err
	}
	defer closeConn()
	plugin, err := esignd.New(esignd.Config{Client: esign})
	if err != nil {
		return err
	}
	c, err := temporal.Dial(temporal.Options{HostPort: o.Address, Namespace: o.Namespace, Plugins: []temporal.Plugin{plugin}})
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, TaskQueue, worker.Options{})
	w.RegisterWorkflow(SendBatch)
	w.RegisterActivity(a)
	return w.Run(worker.InterruptCh())
}
