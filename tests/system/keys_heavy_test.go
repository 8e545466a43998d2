//go:build heavy

package system_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

const (
	// resting is how many grants keep their tokens throughout.
	resting = 200
	// askTimeout is how long a caller waits for an answer. How soon one comes is not what is tested.
	askTimeout = 30 * time.Second
)

// callers ask for tokens until they are stopped, and check each answer: that of a resting grant is its own token.
type callers struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex // guards what follows
	asked  int
	failed []failure
	kills  [][2]time.Time // from the kill until the daemon was ready again
}

type failure struct {
	from, to time.Time
	err      error
}

func account(i int) string { return fmt.Sprintf("owner%d@example.com", i) }

func accessToken(i int) string { return fmt.Sprintf("access-token-of-%s", account(i)) }

// importResting brings the resting grants.
func importResting(t *testing.T, cl *client.Client) {
	t.Helper()
	for i := range resting {
		system.Must(cl.Import(t.Context(), client.ImportRequest{
			Client: "adobe", Account: account(i), RefreshToken: client.NewSecret("refresh-token-of-" + account(i)),
			AccessToken: client.NewSecret(accessToken(i)), ExpiresAt: time.Now().Add(time.Hour),
		}))(t)
	}
}

func startCallers(t *testing.T, d *system.Daemon) *callers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &callers{stop: cancel}
	for n := range 4 {
		cl := d.Dial()
		c.done.Go(func() {
			for ctx.Err() == nil {
				c.ask(ctx, cl, n == 0)
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

func (c *callers) end() {
	c.stop()
	c.done.Wait()
}

// ask asks once: for a token that is refreshed now, or for that of a resting grant.
func (c *callers) ask(ctx context.Context, cl *client.Client, refresh bool) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	from := time.Now()
	var err error
	if refresh {
		_, err = cl.Refresh(asking, client.Selector{Client: "robot"})
	} else {
		err = askResting(asking, cl, rand.IntN(resting))
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if err != nil {
		c.failed = append(c.failed, failure{from: from, to: time.Now(), err: err})
	}
}

func askResting(ctx context.Context, cl *client.Client, i int) error {
	tok, err := cl.Token(ctx, client.Selector{Client: "adobe", Account: account(i)})
	if err == nil && tok.AccessToken.Reveal() != accessToken(i) {
		err = fmt.Errorf("the token of %s is another one", account(i))
	}
	return err
}

// awaitAnswers waits until n more requests were answered.
func (c *callers) awaitAnswers(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.asked - len(c.failed)
	}
	until := count() + n
	system.Await(t, time.Minute, "callers are answered", func() bool { return count() >= until })
}

// check fails the test for each request that failed while no daemon was being killed.
func (c *callers) check(t *testing.T) {
	t.Helper()
	c.end()
	for _, f := range c.failed {
		excused := false
		for _, k := range c.kills {
			excused = excused || f.from.Before(k[1]) && f.to.After(k[0])
		}
		if !excused {
			t.Errorf("a request failed: %v", f.err)
		}
	}
	t.Logf("%d requests, of which %d failed around %d kills", c.asked, len(c.failed), len(c.kills))
}

// keysCommand runs esignd keys against a daemon.
func keysCommand(t *testing.T, d *system.Daemon, name string) (bus.KeyStatus, error) {
	t.Helper()
	var st bus.KeyStatus
	cmd := exec.CommandContext(t.Context(), d.Binaries.Path("esignd"), "keys", name, "--json", "--config", d.Config)
	cmd.Env = d.Env
	out, err := cmd.Output()
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// underOldKeys counts what is not sealed with the primary key, as the daemon tells.
func underOldKeys(st bus.KeyStatus) (old int, primary uint32) {
	for _, k := range st.Keys {
		if k.Role == bus.KeyPrimary {
			primary = k.ID
			continue
		}
		old += k.Records + k.Damaged
	}
	return old + st.Foreign, primary
}

// rotateAndKill rotates the keys of a daemon and kills it within, until a rotation comes to its end.
func rotateAndKill(t *testing.T, d *system.Daemon, c *callers) bus.KeyStatus {
	t.Helper()
	for n := 0; ; n++ {
		result := make(chan bus.KeyStatus, 1)
		failed := make(chan error, 1)
		go func() {
			st, err := keysCommand(t, d, "rotate")
			if err != nil {
				failed <- err
				return
			}
			result <- st
		}()
		var kill <-chan time.Time
		if n < 3 { // then it may come to its end
			kill = time.After(time.Duration(rand.IntN(700)) * time.Millisecond)
		}
		select {
		case st := <-result:
			return st
		case err := <-failed:
			t.Fatalf("rotate: %v", err)
		case <-kill:
		}
		from := time.Now()
		d.Kill()
		select { // whichever it was, it has ended
		case <-result:
		case <-failed:
		}
		d.Start()
		c.mu.Lock()
		c.kills = append(c.kills, [2]time.Time{from, time.Now()})
		c.mu.Unlock()
	}
}

func TestKeysAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]int{"embedded": 1, "two replicas": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world := system.World{Lifetime: time.Minute}
			options := system.Options{Binaries: binaries, Clients: []system.Registration{
				{Name: "adobe", Vendor: "adobesign", Box: world.Open(t, "adobesign")},
				{Name: "robot", Vendor: "esignglobal", Box: world.Open(t, "esignglobal"), GrantType: "client_credentials"},
			}}
			if replicas > 1 {
				options.NATS = &system.External{
					URL: system.StartNATS(t, binaries, "").URL(), Keyset: filepath.Join(t.TempDir(), "keyset.json"),
				}
			}
			daemons := make([]*system.Daemon, replicas)
			for i := range daemons {
				daemons[i] = system.StartDaemon(t, options)
			}
			d := daemons[0]
			cl := d.Dial()
			importResting(t, cl)
			first := system.Must(keysCommand(t, d, "status"))(t)
			c := startCallers(t, d)
			c.awaitAnswers(t, 50)
			quiet := system.Must(keysCommand(t, daemons[len(daemons)-1], "rotate"))(t)
			c.awaitAnswers(t, 50)
			if old, primary := underOldKeys(quiet); old != 0 || primary == first.Keys[0].ID || len(quiet.Replicas) != replicas {
				t.Errorf("after a rotation: %+v", quiet)
			}
			rotateAndKill(t, d, c)
			c.awaitAnswers(t, 50)
			c.check(t)

			last := system.Must(keysCommand(t, d, "status"))(t)
			old, primary := underOldKeys(last)
			if old != 0 || primary == quiet.Keys[len(quiet.Keys)-1].ID {
				t.Errorf("at the end: %+v", last)
			}
			for i := range resting {
				if err := askResting(t.Context(), cl, i); err != nil {
					t.Error(err)
				}
			}
			if status := system.CallAPI(t, system.Must(cl.Token(t.Context(), client.Selector{Client: "robot"}))(t)); status != 200 {
				t.Errorf("the vendor answers %d to the robot's token", status)
			}
			if options.NATS != nil {
				checkCiphertexts(t, options.NATS.URL, primary)
			}
			if st := system.Must(keysCommand(t, d, "drop"))(t); len(st.Keys) != 1 || st.Keys[0].ID != primary {
				t.Errorf("after the old keys were dropped: %+v", st)
			}
			d.Stop()
			d.Start()
			for i := range resting {
				if err := askResting(t.Context(), cl, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// checkCiphertexts reads every record as whoever reads the store does: a ciphertext begins with a byte 1 and the id of its key.
func checkCiphertexts(t *testing.T, url string, primary uint32) {
	t.Helper()
	nc := system.Must(nats.Connect(url))(t)
	defer nc.Close()
	js := system.Must(jetstream.New(nc))(t)
	kv := system.Must(js.KeyValue(t.Context(), "ESIGN"))(t)
	keys := system.Must(kv.Keys(t.Context()))(t)
	sealed := 0
	for _, key := range keys {
		entry := system.Must(kv.Get(t.Context(), key))(t)
		var record struct {
			Sealed []byte `json:"sealed"`
		}
		if err := json.Unmarshal(entry.Value(), &record); err != nil {
			t.Errorf("record %s: %v", key, err)
		}
		if len(record.Sealed) == 0 {
			continue
		}
		sealed++
		if id := binary.BigEndian.Uint32(record.Sealed[1:5]); id != primary {
			t.Errorf("record %s is sealed with %d, not with the primary key %d", key, id, primary)
		}
	}
	if sealed < resting {
		t.Errorf("%d records are sealed, want at least %d", sealed, resting)
	}
}
