// Program temporalserver is a Temporal server of the tests: all its services in one process, with SQLite in memory. It
// prints its frontend's address and the name of a namespace, and ends when its standard input does. It is a module of its
// own, so that esignd does not take on the libraries of a server.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/temporal"
	"go.temporal.io/server/temporaltest"
)

func main() {
	room := flag.Int("room", 0, "how many events a history has when the server tells its workflow to continue as new; 0: as many as Temporal has it")
	flag.Parse()
	var opts []temporaltest.TestServerOption
	if *room > 0 {
		opts = append(opts, temporaltest.WithBaseServerOptions(temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			// What the server of a test has in any case.
			dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): []dynamicconfig.ConstrainedValue{{Value: true}},
			dynamicconfig.HistoryCountSuggestContinueAsNew.Key():        []dynamicconfig.ConstrainedValue{{Value: *room}},
		})))
	}
	server := temporaltest.NewServer(opts...) // panics with what is wrong
	fmt.Println(server.GetFrontendHostPort(), server.GetDefaultNamespace())
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.Stop()
}
