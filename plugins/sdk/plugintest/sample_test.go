//go:build !heavy

package plugintest_test

// everyDefect says that all defects are tried. A plugin process for each takes minutes, so it is for the long tests.
const everyDefect = false
