// Package core is the engine of esignd: it owns the life of every grant, from the first consent to the last
// revocation, and keeps its tokens alive.
//
// A [Manager] is given adapters (one per vendor), a [Store], a [Publisher], and [Timers]; all four are interfaces
// of this package, and all but the adapters have an in-memory implementation here, so that core works alone.
//
// What it guarantees, over any number of Managers on one Store:
//
//   - A grant is refreshed by one Manager at a time. The right to do so is a claim: a compare-and-set of the
//     grant's record. Where the record cannot be written the vendor is not called.
//   - A token set is in the store before anybody is told of it. A rotated refresh token is never dropped because
//     a claim was lost; it is committed by compare-and-set on what is there.
//   - After a call whose outcome is unknown, the same refresh token is presented again only where the vendor does
//     not rotate, or for one last try, recorded before it is made, when no live access token is left.
//   - An event is owed in the write that makes it true, and paid after it: subscribers see it at least once, in
//     order for each grant.
//
// What it does not do: it does not speak to vendors (adapters do), listen on anything, or read configuration.
package core
