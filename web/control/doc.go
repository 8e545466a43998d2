// Package control is how a command on this machine asks the daemon that runs here: for what needs the daemon's keys and
// its store, and is nobody's business but its operator's.
//
// What it guarantees:
//
//   - Who may ask is who can open a socket in a folder that belongs to the daemon's user alone: that user, and root.
//     Nothing listens on a network.
//   - A command that is interrupted ends the context of what it asked for.
//
// It knows none of the requests: the daemon gives it an http.Handler, of functions by [Handle].
package control
