//go:build heavy

package host_test

const allAttacks = true
