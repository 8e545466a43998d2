package esignd

import (
	"context"
	"fmt"
	"reflect"
)

// Reload takes what of cfg can be changed while the daemon runs: the services that may connect. Those that stay keep
// their connections. The files of TLS are read again, now rather than in a few seconds. It returns the other settings that differ from those of the start, which a restart takes. After
// an error no setting has changed.
func (d *Daemon) Reload(ctx context.Context, cfg Config) (restart []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	cfg = cfg.withDefaults()
	d.bus.ReloadTLS()
	d.web.ReloadTLS()
	if cfg.NATS.Auth == d.cfg.NATS.Auth && cfg.NATS.Auth == AuthServices {
		if err := d.bus.SetCallers(ctx, cfg.NATS.Callers()); err != nil {
			return nil, err
		}
	}
	return differing(d.cfg, cfg), nil
}

// differing names the groups of settings, other than the services, in which two configurations differ.
func differing(a, b Config) []string {
	a.NATS.Services, b.NATS.Services = nil, nil
	var list []string
	for _, group := range []struct {
		name string
		a, b any
	}{
		{"data_dir", a.DataDir, b.DataDir}, {"nats", a.NATS, b.NATS}, {"http", a.HTTP, b.HTTP}, {"plugins", a.Plugins, b.Plugins},
		{"clients", a.Clients, b.Clients}, {"keys", a.Keys, b.Keys}, {"audit", a.Audit, b.Audit}, {"log", a.Log, b.Log},
	} {
		if !reflect.DeepEqual(group.a, group.b) {
			list = append(list, group.name)
		}
	}
	return list
}
