package sdk

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// server is the adapter as a gRPC service: each method decodes, calls and encodes.
type server struct {
	pluginv1.UnimplementedAdapterServer
	adapter core.Adapter
}

// Metadata is the one call whose failure has no place in its response: without it there is nothing to serve.
func (s server) Metadata(ctx context.Context, _ *pluginv1.MetadataRequest) (*pluginv1.MetadataResponse, error) {
	m, err := s.adapter.Metadata(ctx)
	if err != nil {
		return nil, status.Error(grpccodes.Internal, core.AsVendorError(err).Error())
	}
	return wire.EncodeMetadata(m, wire.AbilitiesOf(s.adapter)), nil
}

func (s server) AuthorizationURL(ctx context.Context, r *pluginv1.AuthorizationURLRequest) (*pluginv1.AuthorizationURLResponse, error) {
	url, err := s.adapter.AuthorizationURL(ctx, wire.DecodeAuthorizationRequest(r))
	traceFailure(ctx, err)
	return wire.EncodeAuthorizationURL(url, err), nil
}

func (s server) Callback(ctx context.Context, r *pluginv1.CallbackRequest) (*pluginv1.CallbackResponse, error) {
	result, err := s.adapter.Callback(ctx, wire.DecodeCallbackRequest(r))
	traceFailure(ctx, err)
	return wire.EncodeCallback(result, err), nil
}

func (s server) Token(ctx context.Context, r *pluginv1.TokenRequest) (*pluginv1.TokenResponse, error) {
	set, err := s.adapter.Token(ctx, wire.DecodeTokenRequest(r))
	traceFailure(ctx, err)
	return wire.EncodeTokenResponse(set, err), nil
}

func (s server) Revoke(ctx context.Context, r *pluginv1.RevokeRequest) (*pluginv1.RevokeResponse, error) {
	err := s.adapter.Revoke(ctx, wire.DecodeRevocationRequest(r))
	traceFailure(ctx, err)
	return wire.EncodeRevocation(err), nil
}

func (s server) CheckAPIBaseURL(ctx context.Context, r *pluginv1.CheckAPIBaseURLRequest) (*pluginv1.CheckAPIBaseURLResponse, error) {
	checker, ok := s.adapter.(core.HostChecker)
	if !ok {
		return s.UnimplementedAdapterServer.CheckAPIBaseURL(ctx, r)
	}
	client, rawURL := wire.DecodeHostCheck(r)
	url, err := checker.CheckAPIBaseURL(ctx, client, rawURL)
	traceFailure(ctx, err)
	return wire.EncodeHostCheckResult(url, err), nil
}

func (s server) VerifyAccount(ctx context.Context, r *pluginv1.VerifyAccountRequest) (*pluginv1.VerifyAccountResponse, error) {
	verifier, ok := s.adapter.(core.AccountVerifier)
	if !ok {
		return s.UnimplementedAdapterServer.VerifyAccount(ctx, r)
	}
	found, err := verifier.VerifyAccount(ctx, wire.DecodeVerifyAccount(r))
	traceFailure(ctx, err)
	return wire.EncodeAccountLookup(found, err), nil
}

func (s server) CreateAccount(ctx context.Context, r *pluginv1.CreateAccountRequest) (*pluginv1.CreateAccountResponse, error) {
	creator, ok := s.adapter.(core.AccountCreator)
	if !ok {
		return s.UnimplementedAdapterServer.CreateAccount(ctx, r)
	}
	created, err := creator.CreateAccount(ctx, wire.DecodeCreateAccount(r))
	traceFailure(ctx, err)
	return wire.EncodeCreatedAccount(created, err), nil
}

func (s server) ReadEvent(ctx context.Context, r *pluginv1.ReadEventRequest) (*pluginv1.ReadEventResponse, error) {
	reader, ok := s.adapter.(core.EventReader)
	if !ok {
		return s.UnimplementedAdapterServer.ReadEvent(ctx, r)
	}
	event, err := reader.ReadEvent(ctx, wire.DecodeEventRequest(r))
	traceFailure(ctx, err)
	return wire.EncodeVendorEvent(event, err), nil
}

// traceFailure marks the call's span: a failure travels as data, so gRPC's own status says nothing of it.
func traceFailure(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	if err == nil || !span.IsRecording() {
		return
	}
	e := core.AsVendorError(err)
	span.SetAttributes(
		attribute.String("error.type", e.Code),
		attribute.String("esignd.outcome", e.Outcome.String()),
	)
	span.SetStatus(codes.Error, e.Code)
}
