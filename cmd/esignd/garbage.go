package main

import (
	"math"
	"os"
	"runtime/debug"
)

// How much of the heap a daemon holds and never touches, so that it takes no memory: for as long as it runs, and while it
// starts, when it reads all records.
const (
	reserve      = 32 << 20
	startReserve = 256 << 20
)

// holdReserve returns a part of the heap that is to be held. A daemon lives on a few MiB, and Go collects garbage whenever
// as much again was allocated: under load ten times a second and more, for a seventh of the processor time. With the reserve
// there is room for that much garbage first. It is nil where the environment says how garbage is to be collected.
func holdReserve(size int) []byte {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return nil
	}
	return make([]byte, size)
}
