package main

import (
	"errors"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is the daemon's share of the memory that its container or unit may take. Its plugins have the rest.
const memoryShare = 0.75

// boundMemory has Go collect garbage more often before the kernel ends the process: it knows of no bound on a container's or a unit's
// memory by itself. It changes nothing where GOMEMLIMIT says how much there is, or nothing is bounded.
func boundMemory() error {
	_, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	if errors.Is(err, memlimit.ErrNoCgroup) || errors.Is(err, memlimit.ErrCgroupsNotSupported) {
		return nil
	}
	return err
}

// How much of the heap a daemon holds and never touches, so that it takes no memory: for as long as it runs, and while it
// starts, when it reads all records.
const (
	reserve      = 32 << 20
	startReserve = 256 << 20
)

// reserveShare is the part of the memory that Go is content with, of which no more is held: what is collected later takes memory until then.
const reserveShare = 8

// holdReserve returns a part of the heap that is to be held. A daemon lives on a few MiB, and Go collects garbage whenever
// as much again was allocated: under load ten times a second and more, for a seventh of the processor time. With the reserve
// there is room for that much garbage first. It is nil where the environment says how garbage is to be collected.
func holdReserve(size int64) []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, min(size, debug.SetMemoryLimit(-1)/reserveShare))
}
