package hostile

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
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

func floods() []Attack {
	flood := func(vendor, does, text string) Attack {
		return Attack{Vendor: vendor, Does: does, before: func() { go writeForever(rawStderr, text) }}
	}
	bomb := `{"@message":1,"@level":{},"@timestamp":[],"a":` + strings.Repeat(`{"a":[`, 500) + strings.Repeat("]}", 500) + "}\n"
	var once sync.Once
	return []Attack{
		flood("floodline", "writes one line without end to standard error", "x"),
		flood("floodlines", "writes short lines to standard error, as fast as they are read", "x\n"),
		flood("floodjson", "writes records with values of the wrong types", `{"@message":1}`+"\n"+bomb),
		flood("floodpanic", "writes what looks like a crash, again and again", "panic: "+VendorsWords+"\ngoroutine 1 [running]:\n"),
		{Vendor: "floodbinary", Does: "writes random bytes to standard error", before: func() {
			go func() { _, _ = io.Copy(rawStderr, rand.Reader) }()
		}},
		{
			Vendor: "floodstdout", Does: "writes to both of its standard outputs without end",
			token: func(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
				once.Do(func() {
					go writeForever(rawStdout, "1|1|unix|x\n")
					go writeForever(os.Stdout, "x\n")
				})
				return answer(r), nil
			},
		},
	}
}

// child starts a process that holds this one's outputs for as long as it lives.
func child(ownGroup bool) {
	c := exec.Command("/bin/sleep", strconv.Itoa(int(Outlives/time.Second)))
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
				for {
					eaten = append(eaten, bytes.Repeat([]byte{byte(len(eaten))}, 32<<20))
					<-time.After(10 * time.Millisecond)
				}
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
