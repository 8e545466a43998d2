//go:build !race

package system

// Race says whether the tests run under the race detector, and so the daemon does.
const Race = false
