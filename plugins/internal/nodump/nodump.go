// Package nodump keeps the memory of a process that holds secrets out of core files and, on Linux, away from other processes
// of the same user.
package nodump

import (
	"fmt"
	"syscall"
)

// Set does so for this process. Processes that it starts make no core files either, which none of them can undo; their memory is open
// to others of their user until they call Set themselves.
//
// On Linux it also means that only root, or who may trace every process, can read this one's memory, environment and open
// files in /proc, or attach a debugger to it.
func Set() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turn core files off: %w", err)
	}
	return hide()
}
