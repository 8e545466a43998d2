package hostile

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/esignd/esignd/core"
)

// The process's own streams: go-plugin puts pipes in their place.
var (
	rawStdout = os.Stdout
	rawStderr = os.Stderr
)

// writeForever writes as fast as it is read.
func writeForever(w io.Writer, text string) {
	block := []byte(strings.Repeat(text, 1+(1<<20)/len(text)))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// flood is an attack that begins with the first call and does not end.
func flood(vendor, does string, begin func()) Attack {
	var once sync.Once
	return Attack{Vendor: vendor, Does: does, token: func(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		once.Do(begin)
		return answer(r), nil
	}}
}

func floods() []Attack {
	errors := func(text string) func() { return func() { go writeForever(rawStderr, text) } }
	bomb := `{"@message":1,"@level":{},"@timestamp":[],"a":` + strings.Repeat(`{"a":[`, 500) + strings.Repeat("]}", 500) + "}\n"
	return []Attack{
		flood("floodline", "writes one line without end to standard error", errors("x")),
		flood("floodlines", "writes short lines to standard error, as fast as they are read", errors("x\n")),
		flood("floodjson", "writes records with values of the wrong types", errors(`{"@message":1}`+"\n"+bomb)),
		flood("floodpanic", "writes what looks like a crash, again and again", errors("panic: "+VendorsWords+"\ngoroutine 1 [running]:\n")),
		flood("floodbinary", "writes random bytes to standard error", func() {
			go func() { _, _ = io.Copy(rawStderr, rand.Reader) }()
		}),
		flood("floodstdout", "writes to both of its standard outputs without end", func() {
			go writeForever(rawStdout, "1|1|unix|x\n")
			go writeForever(os.Stdout, "x\n")
		}),
	}
}

// child starts a process that holds this one's outputs for as long as it lives.
func child(ownGroup bool) {
	c := exec.Command("/bin/sleep", "30") // Outlives
	c.Stdout, c.Stderr = rawStdout, rawStderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: ownGroup}
	_ = c.Start() // that one does not start is what bounds a bomb
}

func processes() []Attack {
	var asked atomic.Int32
	return []Attack{
		{Vendor: "forks", Does: "starts children that hold its outputs and outlive it", before: func() { child(false); child(true) }},
		{
			Vendor: "bombs", Does: "starts children with every call",
			token: func(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
				for range 20 {
					child(false)
				}
				return answer(r), nil
			},
		},
		{Vendor: "loops", Does: "ends by itself shortly after each start", Code: Any, Ends: "exit status 5", lie: func(*core.Metadata) {
			if asked.Add(1) == 2 { // the first is not its host
				time.AfterFunc(300*time.Millisecond, func() { os.Exit(5) })
			}
		}},
		{
			Vendor: "eats", Does: "takes memory in every call until it is ended", Code: core.CodePlugin, Ends: "MiB of memory",
			token: func(context.Context, core.TokenRequest) (core.TokenResponse, error) {
				var eaten [][]byte
				for len(eaten) < 1<<20 {
					eaten = append(eaten, bytes.Repeat([]byte("eaten"), 6<<20))
					<-time.After(10 * time.Millisecond)
				}
				return core.TokenResponse{}, nil
			},
		},
		{
			Vendor: "freezes", Does: "stops itself in every call", Code: core.CodeTimeout, Ends: unanswered,
			token: func(context.Context, core.TokenRequest) (core.TokenResponse, error) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				select {}
			},
		},
		{
			Vendor: "stays", Does: "ignores signals, and that it is told to end",
			before: func() { signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT) },
			after:  func() { select {} },
		},
	}
}
