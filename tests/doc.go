// Package tests holds what no single package can be asked: the rules of the architecture. Its folders hold the checker
// of those rules and the tests of the whole system.
package tests
