// Package web is what esignd shows to browsers: the connect pages and the OAuth callback on the public listener, the
// console and the metrics on the admin listener, and health on both.
//
// What it guarantees:
//
//   - A code, a state or a ticket stays where the browser brought it: none is in a log, a span, a metric, a page or the
//     address of the page that the browser ends on. Every answer forbids caching, framing, referrers and foreign content.
//   - A callback is taken only from the browser that opened the connect URL: a cookie per authorization says so.
//     Authorizations in several tabs do not disturb each other.
//   - Opening a connect URL is a GET by a person: HEAD requests and prefetches begin nothing.
//   - Requests are bounded: header size, time, connections, and a rate per address, which is the browser's where a
//     trusted proxy says so.
//   - The console only shows. On a loopback address it asks nobody who they are; where others can reach it, it wants a
//     session, which begins with a link that can be opened once and is made for who may ask the daemon on its own
//     machine. Requests whose Host is a foreign name are refused, since a web page could make the operator's own browser
//     ask (DNS rebinding).
//
// What it does not do: TLS. A proxy in front does that, and public_url says so.
package web
