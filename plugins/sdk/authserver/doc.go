// Package authserver is what the sandboxes of all vendors share: the memory of an authorization server, its consent
// page, and a listener on the loopback.
//
//   - A [Ledger] knows every grant, code and token, how long each lives and what has been done with it.
//   - [Pages] shows the consent page and turns the person's decision into the vendor's redirect.
//   - A [Server] listens, counts, and answers wrongly when a test asks it to.
//
// How a vendor words its requests, answers and refusals is not here: each sandbox writes its own.
//
// What it guarantees:
//
//   - A code is redeemed once. [Challenge] and [Approval.Proven] hold it to the code challenge it was asked for with, by
//     S256 alone. Where the ledger rotates, a refresh token is used once, and presenting a spent one ends
//     its grant with every token of it.
//   - With a state file, what was answered is in the file before the answer is sent: a sandbox that is killed and
//     started again knows every token that anybody holds. The file has mode 0600 and is replaced as a whole.
//   - Nothing is logged. Tokens are kept as SHA-256 digests, except a client's own shared token, which has to be
//     answered again.
//   - Everything is bounded: pending consents, tokens, bodies, and the time that a request takes.
//
// What it does not do: it does not sign anybody in, speak TLS, or listen beyond the loopback. It uses the standard
// library only and imports nothing of esignd.
package authserver
