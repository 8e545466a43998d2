// Package system runs esignd as a user would, for tests: the real binaries, built once for a test's process, real plugin
// processes, sandboxes of the vendors, and NATS servers, alone or in a cluster.
//
// Each thing that it starts has ports and folders of its own, ends with its test, and is waited for. What a daemon writes
// is told where its test fails.
package system
