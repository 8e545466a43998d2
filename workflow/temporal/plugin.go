package esignd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"

	"go.temporal.io/sdk/activity"
	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/bus/client"
)

// GrantRef is the id of a grant, as esignd answers it: "g_" and 40 hexadecimal digits. It tells nothing of the account and gives
// nobody a token, so it may stand in a workflow's arguments and history.
type GrantRef string

var grantForm = regexp.MustCompile(`^g_[0-9a-f]{40}$`)

// Validate refuses what is not the id of a grant, such as an account's name, and does not repeat it.
func (g GrantRef) Validate() error {
	if !grantForm.MatchString(string(g)) {
		return errors.New("esignd: a grant reference is the id of a grant, g_ and 40 hexadecimal digits, and this is not one")
	}
	return nil
}

func (g GrantRef) selector() client.Selector { return client.Selector{Grant: string(g)} }

// DefaultDurable is the name under which NATS remembers which events were heard.
const DefaultDurable = "temporal"

// Config is what a Plugin is made of. Client is required.
type Config struct {
	// Client asks esignd. It stays the caller's, who closes its connection after the workers have stopped.
	Client *client.Client
	// Durable is the name under which NATS remembers which events the workers have heard. All workers of a Temporal namespace have
	// the same; workers of another namespace, for the same tenant, need another. Where esignd's nats.auth lists services, it is
	// the name of the service. Empty: DefaultDurable.
	Durable string
	// Logger gets what goes wrong with hearing events. nil: slog.Default.
	Logger *slog.Logger
}

// Plugin is a plugin of one Temporal client and of the workers that are made of it. Its methods are the SDK's to call.
type Plugin struct {
	*temporal.SimplePlugin

	esignd  *client.Client
	durable string
	log     *slog.Logger
	guard   *guard

	mu      sync.Mutex // guards what follows
	dial    func(context.Context) (temporalclient.Client, error)
	hearing map[string]*hearing // by the worker's instance key
}

// New checks cfg and returns a Plugin. It does no I/O.
func New(cfg Config) (*Plugin, error) {
	if cfg.Client == nil {
		return nil, errors.New("esignd: Config.Client is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Plugin{
		esignd: cfg.Client, durable: cmp.Or(cfg.Durable, DefaultDurable), log: cfg.Logger, guard: newGuard(), hearing: map[string]*hearing{},
	}
	simple, err := temporal.NewSimplePlugin(temporal.SimplePluginOptions{
		Name:               "esignd",
		WorkerInterceptors: []interceptor.WorkerInterceptor{&workerInterceptor{plugin: p}},
		ConfigureClient:    p.configureClient,
		RunContextBefore:   p.start,
		RunContextAfter:    p.stop,
	})
	if err != nil {
		return nil, fmt.Errorf("esignd: make the plugin: %w", err)
	}
	p.SimplePlugin = simple
	return p, nil
}

// configureClient lets everything that the client writes pass the guard.
func (p *Plugin) configureClient(_ context.Context, o temporalclient.PluginConfigureClientOptions) error {
	opts := o.ClientOptions
	if opts.DataConverter == nil {
		opts.DataConverter = converter.GetDefaultDataConverter()
	}
	if opts.FailureConverter == nil {
		opts.FailureConverter = temporal.GetDefaultFailureConverter()
	}
	opts.DataConverter = &guardedData{guard: p.guard, next: opts.DataConverter}
	opts.FailureConverter = &guardedFailure{guard: p.guard, next: opts.FailureConverter}
	return nil
}

// NewClient implements client.Plugin. It keeps how the client connects: a plugin gets no client to signal with.
func (p *Plugin) NewClient(ctx context.Context, o temporalclient.PluginNewClientOptions, next func(context.Context, temporalclient.PluginNewClientOptions) error) error {
	opts, existing := o.ClientOptions, o.FromExisting
	opts.Plugins = nil
	p.mu.Lock()
	if p.dial != nil {
		p.mu.Unlock()
		return errors.New("esignd: this plugin belongs to another Temporal client: make one for each client")
	}
	p.dial = func(ctx context.Context) (temporalclient.Client, error) {
		if existing != nil {
			return temporalclient.NewClientFromExistingWithContext(ctx, existing, opts)
		}
		return temporalclient.DialContext(ctx, opts)
	}
	p.mu.Unlock()
	return next(ctx, o)
}

// start registers what the plugin runs on a worker, and begins to hear esignd's events.
func (p *Plugin) start(ctx context.Context, o temporal.SimplePluginRunContextBeforeOptions) error {
	again := o.WorkflowReplayer // for each history that it replays
	o.Registry.RegisterWorkflowWithOptions(grantWorkflow, workflow.RegisterOptions{Name: grantWorkflowType, DisableAlreadyRegisteredCheck: again})
	o.Registry.RegisterActivityWithOptions(p.look, activity.RegisterOptions{Name: lookActivity, DisableAlreadyRegisteredCheck: again})
	o.Registry.RegisterActivityWithOptions(p.gone, activity.RegisterOptions{Name: goneActivity, DisableAlreadyRegisteredCheck: again})
	if o.WorkflowReplayer {
		return nil
	}
	p.mu.Lock()
	dial := p.dial
	p.mu.Unlock()
	if dial == nil {
		return errors.New("esignd: give the plugin to client.Options.Plugins, not to worker.Options.Plugins: workers of that client have it too")
	}
	c, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("esignd: connect to Temporal, to signal workflows: %w", err)
	}
	h := p.hear(c)
	p.mu.Lock()
	p.hearing[o.InstanceKey] = h
	p.mu.Unlock()
	return nil
}

// stop ends what start began for the worker.
func (p *Plugin) stop(_ context.Context, o temporal.SimplePluginRunContextAfterOptions) {
	p.mu.Lock()
	h := p.hearing[o.InstanceKey]
	delete(p.hearing, o.InstanceKey)
	p.mu.Unlock()
	if h != nil {
		h.close()
	}
}

// workerInterceptor gives activities the plugin, and workflows what they have heard.
type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	plugin *Plugin
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (w *workerInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	out := &activityInbound{plugin: w.plugin}
	out.Next = next
	return out
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (w *workerInterceptor) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	out := &workflowInbound{}
	out.Next = next
	return out
}
