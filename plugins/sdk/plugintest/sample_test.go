//go:build !heavy

package plugintest_test

// everyCheck says that a defective adapter is a plugin, and meets all the checks, not only those that its defect is about.
// That takes minutes, so it is for the long tests.
const everyCheck = false
