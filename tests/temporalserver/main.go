// Program temporalserver is a Temporal server of the tests: all its services in one process, with SQLite in memory. It
// prints its frontend's address and the name of a namespace, and ends when its standard input does. It is a module of its
// own, so that esignd does not take on the libraries of a server.
package main

import (
	"fmt"
	"io"
	"os"

	"go.temporal.io/server/temporaltest"
)

func main() {
	server := temporaltest.NewServer() // panics with what is wrong
	fmt.Println(server.GetFrontendHostPort(), server.GetDefaultNamespace())
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.Stop()
}
