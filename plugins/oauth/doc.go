// Package oauth is the client of a vendor's token endpoint (RFC 6749 §3.2) and revocation endpoint (RFC 7009) that
// every adapter uses. What differs between vendors is data, in an [Endpoint]. An adapter that has to ask the vendor
// something else, such as whose token it is, does it by [Client.API], under the same guarantees.
//
// What it guarantees:
//
//   - One call sends at most one request. Connections are not reused and bodies cannot be replayed, so net/http never
//     sends a token request again by itself, and no call is lost on a connection that the vendor was closing.
//   - A failure is a [*core.VendorError] whose outcome is exact: [core.NotSent] only while no connection was handed
//     the request, [core.Refused] only for a 4xx or 503 that was read to its end, [core.Unknown] for all else.
//   - A redirect is not followed: client secret and refresh token go to the URL that was asked for and nowhere else.
//   - No address that is private, loopback, link-local or otherwise not public is connected to, unless the host is loopback
//     by name, and then no other. The address is looked at after the name was resolved, as it is dialled. Through
//     the operator's proxy (HTTPS_PROXY) it is the proxy that resolves a name and has to refuse.
//   - TLS is 1.2 or later, and the certificate's name the host's.
//   - An answer is at most 1 MiB, uncompressed; a call ends with its context and after ten seconds at the latest.
//   - No token, code, secret or text of the vendor is in an error or a span, and the vendor is sent no trace context.
//
// What it does not do: it does not retry, cache, or decide what a failure means for a grant; core does. It does not
// check whether a host may be called by name; the adapter does, since only it knows the vendor's hosts.
package oauth
