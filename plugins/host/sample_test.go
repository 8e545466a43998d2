//go:build !heavy

package host_test

// allAttacks says that the tests go through the attacks too that take long.
const allAttacks = false
