package main

import (
	"os"
	"runtime"
)

// spare is how many goroutines may run beyond the processors there are: one for each stream of the embedded server that
// may be in a synced write, the records' and the events'.
const spare = 2

// spareProcessors leaves room for the embedded server's synced writes, until restore is called. A goroutine that waits for
// the disk keeps one of Go's places to run until the runtime notices, which takes up to 10 ms; with as many places as
// processors, requests that are answered from memory wait for the disk while a processor idles. It does nothing where the
// environment says how many there are.
func spareProcessors() (restore func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	before := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(before + spare)
	return func() { runtime.GOMAXPROCS(before) }
}
