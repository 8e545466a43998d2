package host

import (
	"context"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// Adapter returns the plugin as an adapter, good for as long as the plugin is open, over restarts of its process. It is
// a [core.HostChecker] too if the process that is or was last ready declares it. While no process is ready, Metadata
// answers what the last one said and every other method fails at once with the outcome [core.NotSent].
func (p *Plugin) Adapter() core.Adapter {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checksHosts {
		return checkingRemote{remote{p}}
	}
	return remote{p}
}

// remote is the adapter in the plugin's process.
type remote struct{ plugin *Plugin }

// Metadata implements core.Adapter from what the process said at its start.
func (r remote) Metadata(context.Context) (core.Metadata, error) {
	r.plugin.mu.Lock()
	defer r.plugin.mu.Unlock()
	if r.plugin.metadata.Vendor == "" {
		return core.Metadata{}, r.plugin.down
	}
	return r.plugin.metadata, nil
}

// AuthorizationURL implements core.Adapter.
func (r remote) AuthorizationURL(ctx context.Context, request core.AuthorizationRequest) (string, error) {
	reply, err := call(ctx, r.plugin, reads, pluginv1.AdapterClient.AuthorizationURL, wire.EncodeAuthorizationRequest(request))
	if err != nil {
		return "", err
	}
	url, err := wire.DecodeAuthorizationURL(reply)
	if err != nil {
		return "", err
	}
	return url, checkURL("authorization URL", url)
}

// Callback implements core.Adapter.
func (r remote) Callback(ctx context.Context, request core.CallbackRequest) (core.CallbackResult, error) {
	reply, err := call(ctx, r.plugin, reads, pluginv1.AdapterClient.Callback, wire.EncodeCallbackRequest(request))
	if err != nil {
		return core.CallbackResult{}, err
	}
	result, err := wire.DecodeCallback(reply)
	if err != nil {
		return core.CallbackResult{}, err
	}
	return checkCallback(result)
}

// Token implements core.Adapter.
func (r remote) Token(ctx context.Context, request core.TokenRequest) (core.TokenResponse, error) {
	reply, err := call(ctx, r.plugin, acts, pluginv1.AdapterClient.Token, wire.EncodeTokenRequest(request))
	if err != nil {
		return core.TokenResponse{}, err
	}
	set, err := wire.DecodeTokenResponse(reply)
	if err != nil {
		return core.TokenResponse{}, err
	}
	return checkTokenResponse(set)
}

// Revoke implements core.Adapter.
func (r remote) Revoke(ctx context.Context, request core.RevocationRequest) error {
	reply, err := call(ctx, r.plugin, acts, pluginv1.AdapterClient.Revoke, wire.EncodeRevocationRequest(request))
	if err != nil {
		return err
	}
	return wire.DecodeRevocation(reply)
}

// checkingRemote is an adapter in the plugin's process that checks hosts.
type checkingRemote struct{ remote }

// CheckAPIBaseURL implements core.HostChecker.
func (r checkingRemote) CheckAPIBaseURL(ctx context.Context, client core.Credentials, rawURL string) (string, error) {
	reply, err := call(ctx, r.plugin, reads, pluginv1.AdapterClient.CheckAPIBaseURL, wire.EncodeHostCheck(client, rawURL))
	if err != nil {
		return "", err
	}
	url, err := wire.DecodeHostCheckResult(reply)
	if err != nil {
		return "", err
	}
	return url, checkURL("API base URL", url)
}
