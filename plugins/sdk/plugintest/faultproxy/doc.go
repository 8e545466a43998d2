// Package faultproxy stands between an adapter and its vendor's sandbox and lets the vendor's token endpoint go wrong
// in the ways that real ones do: refusals in every dress, throttling, half answers, answers without end, redirects to
// other hosts, connections that are refused, cut or never answered.
//
//	proxy, err := faultproxy.Start(faultproxy.Config{Target: sandbox.URL()})
//	// let the client's settings name proxy.URL() where they would name the sandbox's
//	proxy.Next(fault) // one of faultproxy.Faults(), or your own
//
// What it guarantees:
//
//   - A fault goes to the next token request and to no other request. Everything else is forwarded, and the sandbox's
//     own URL in an answer becomes the proxy's, so that a vendor that names its host keeps its callers here.
//   - Each of [Faults] has [Canary] in what the vendor says: in the body, in a header, or in the bytes that should have
//     been an answer. A text of ours with the canary in it, such as a log or an error, has repeated a vendor's words.
//   - A redirect leads to a listener of the proxy's own. [Stats] tells how often somebody went there, which an adapter
//     must not.
//   - Close ends every connection, those that a fault holds open too, and waits for all goroutines.
//
// It listens on the loopback only, uses the standard library only and imports nothing of esignd.
package faultproxy
