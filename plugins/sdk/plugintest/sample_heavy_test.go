//go:build heavy

package plugintest_test

// everyCheck says that a defective adapter is a plugin, and meets all the checks.
const everyCheck = true
