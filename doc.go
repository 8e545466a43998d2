// Package esignd is the whole daemon as a library: it keeps OAuth tokens of e-signature vendors alive and hands them
// out over NATS.
//
// [New] makes a daemon from a [Config]; Start and Close are its life. [Module] is the same for a program that is
// wired with fx. Vendors are plugin processes, loaded from Config.Plugins.Dir.
//
// What it guarantees: a refresh token that a vendor gave is stored before anybody is told of it, and is presented
// once at a time over all replicas; package core says how. What it does not do: it holds no workflow, and sends no
// document.
package esignd
