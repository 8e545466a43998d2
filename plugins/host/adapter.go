package host

import (
	"context"
	"errors"
	"slices"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// Adapter returns the plugin as an adapter, good for as long as the plugin is open, over restarts of its process. It
// has all optional abilities; one that the process that is or was last ready does not declare is errors.ErrUnsupported.
// While no process is ready, Metadata answers what the last one said and every other method fails at once with the
// outcome [core.NotSent].
func (p *Plugin) Adapter() core.Adapter { return remote{p} }

// Abilities names the optional calls that the plugin declares, such as "check_api_base_url".
func (p *Plugin) Abilities() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, a := range p.abilities {
		names = append(names, wire.AbilityName(a))
	}
	return names
}

// can returns nil where the plugin declares the ability.
func (p *Plugin) can(a wire.Ability) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.abilities, a) {
		return errors.ErrUnsupported
	}
	return nil
}

// remote is the adapter in the plugin's process.
type remote struct{ plugin *Plugin }

var (
	_ core.Adapter         = remote{}
	_ core.HostChecker     = remote{}
	_ core.AccountVerifier = remote{}
	_ core.AccountCreator  = remote{}
	_ core.EventReader     = remote{}
)

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

// CheckAPIBaseURL implements core.HostChecker.
func (r remote) CheckAPIBaseURL(ctx context.Context, client core.Credentials, rawURL string) (string, error) {
	if err := r.plugin.can(wire.CheckAPIBaseURL); err != nil {
		return "", err
	}
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

// VerifyAccount implements core.AccountVerifier.
func (r remote) VerifyAccount(ctx context.Context, request core.AccountRequest) (core.AccountLookup, error) {
	if err := r.plugin.can(wire.VerifyAccount); err != nil {
		return core.AccountLookup{}, err
	}
	reply, err := call(ctx, r.plugin, reads, pluginv1.AdapterClient.VerifyAccount, wire.EncodeVerifyAccount(request))
	if err != nil {
		return core.AccountLookup{}, err
	}
	found, err := wire.DecodeAccountLookup(reply)
	if err != nil {
		return core.AccountLookup{}, err
	}
	return found, checkAccountID(found.AccountID)
}

// CreateAccount implements core.AccountCreator.
func (r remote) CreateAccount(ctx context.Context, request core.AccountRequest) (core.CreatedAccount, error) {
	if err := r.plugin.can(wire.CreateAccount); err != nil {
		return core.CreatedAccount{}, err
	}
	reply, err := call(ctx, r.plugin, acts, pluginv1.AdapterClient.CreateAccount, wire.EncodeCreateAccount(request))
	if err != nil {
		return core.CreatedAccount{}, err
	}
	created, err := wire.DecodeCreatedAccount(reply)
	if err != nil {
		return core.CreatedAccount{}, err
	}
	return checkCreatedAccount(created)
}

// ReadEvent implements core.EventReader.
func (r remote) ReadEvent(ctx context.Context, request core.EventRequest) (core.VendorEvent, error) {
	if err := r.plugin.can(wire.ReadEvent); err != nil {
		return core.VendorEvent{}, err
	}
	reply, err := call(ctx, r.plugin, reads, pluginv1.AdapterClient.ReadEvent, wire.EncodeEventRequest(request))
	if err != nil {
		return core.VendorEvent{}, err
	}
	event, err := wire.DecodeVendorEvent(reply)
	if err != nil {
		return core.VendorEvent{}, err
	}
	return checkEvent(event)
}
