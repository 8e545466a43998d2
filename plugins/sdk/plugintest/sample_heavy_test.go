//go:build heavy

package plugintest_test

// everyDefect says that all defects are tried.
const everyDefect = true
