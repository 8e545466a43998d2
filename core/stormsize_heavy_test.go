//go:build heavy

package core_test

// stormSize is how many grants wait out an outage.
const stormSize = 10000
