// Package chaos ends, stops and starves what esignd is made of, under load, and counts what came of it: the daemon, its
// plugins, a NATS server, the disk, the vendors, the clock.
//
// The figures are not esignd's own. A door before each sandbox writes down what the vendor was asked and what it
// answered; callers use each token at the vendor's API at once; and the events are read from ESIGN_EVENTS at the end.
// Only the last tries are taken from what esignd says, since they are what it has to account for: each presentation of
// a refresh token whose fate was unknown needs one.
//
// `make chaos` runs it in full and prints a table. With the build tag heavy a small one runs among the tests; the
// variables in main_test.go set the counts.
package chaos
