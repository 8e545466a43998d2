// Package client is what a Go service imports to use esignd: it asks for live tokens over NATS and hears of what
// happens to them.
//
// A service gives its own NATS connection and its tenant to [New]. What it asks for comes from the daemon: nothing is
// kept here, so that a revoked token is not handed out again. Ask for a token for each use, or let [Client.Transport]
// or [Client.TokenSource] do so. [Client.Cached] keeps tokens for some seconds, where events are heard that drop them;
// [Client.WaitReady] waits until a grant can be used again; [Client.Watch] hears what happens.
//
// What it guarantees:
//
//   - An error that the daemon answered is an [*Error], for errors.As, and matched by errors.Is as below.
//     A daemon that is not there is TemporarilyUnavailable and wraps nats.ErrNoResponders. Other errors wrap what NATS or
//     the context said.
//   - A context that ends stops the waiting, not the refresh that it started.
//   - A connection that is lost comes back by itself, where the options of the connection say so, and with it what a Watch, a
//     WaitReady and a Cached hear. A Token, Report, Grant, Grants or VerifyAccount whose answer was lost asks again.
//   - The caller's trace context goes with each request, in W3C headers.
//   - With Config.Sealed, answers are sealed: who reads along on NATS sees neither tokens nor connect URLs. What is asked is
//     not sealed, such as the refresh token of an Import.
//   - The token is in no error and no log, and [Client.Transport] sends it to no other host than the vendor's API.
//
// A NATS server that keeps services apart (nats.auth services) wants a connection made with the options of package
// bus/creds, which also give it the inbox prefix of the service. What the server does not permit is
// AccessDenied and wraps nats.ErrPermissionViolation.
//
// # Errors
//
// What to do about an answer without a token:
//
//	errors.Is(err, …)         is                                            do
//	ReauthorizationRequired   the account's owner must authorize, again     send them to Error.ConnectURL; WaitReady
//	ErrRateLimited            the vendor or esignd's quota wants a pause    ask again after Error.RetryAfter
//	ErrVendorUnavailable      the vendor, or the way to it, fails           ask again after Error.RetryAfter; WaitReady
//	ErrClientSuspended        the vendor refuses the client's credentials   the operator mends them; WaitReady
//	TemporarilyUnavailable    the two in the middle, and esignd's own       ask again after Error.RetryAfter
//	NotFound                  no such grant, or client of this tenant       authorize the account; look for a misspelt name
//	AccessDenied              this service, or the owner, said no           look into nats.auth; Error.Reason
//	InvalidRequest            a wrong request                               Error.Description names the field
package client
