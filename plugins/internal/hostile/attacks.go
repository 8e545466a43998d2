package hostile

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// Attacks are all there are, by what they are aimed at.
func Attacks() []Attack {
	var all []Attack
	for _, some := range [][]Attack{starts(), lies(), floods(), calls(), answers(), processes(), connections()} {
		all = append(all, some...)
	}
	return all
}

func starts() []Attack {
	return []Attack{
		{Vendor: "mute", Does: "says nothing at its start", Refused: "said nothing in time", before: func() { select {} }},
		{Vendor: "slowhello", Does: "says hello after its time", Refused: "said nothing in time", before: func() { <-time.After(Outlives) }},
		{Vendor: "chatter", Does: "writes to standard output for ever instead of saying hello", Refused: "before sdk.Serve", before: func() { writeForever(os.Stdout, "not a plugin") }},
		{Vendor: "longhello", Does: "says a hello of which there is no end", Refused: "not usable after its hello", before: func() { writeForever(os.Stdout, "1|1|unix|") }},
		{Vendor: "oldhello", Does: "speaks another version of the protocol", Refused: "speaks version 7", serving: serveVersion(7)},
		{Vendor: "quitter", Does: "ends at once, with a last word", Refused: "its last words", before: func() {
			_, _ = os.Stderr.WriteString("its last words\n")
			os.Exit(3)
		}},
		{Vendor: "elsewhere", Does: "names a socket that is not in its folder", Refused: "not in its socket folder", before: func() {
			_, _ = os.Stdout.WriteString("1|1|unix|/var/run/docker.sock|grpc|\n")
			select {}
		}},
		{Vendor: "network", Does: "names a host on the network to connect to", Refused: "not in its socket folder", before: func() {
			_, _ = os.Stdout.WriteString("1|1|tcp|169.254.169.254:80|grpc|\n")
			select {}
		}},
	}
}

func lies() []Attack {
	lie := func(vendor, does, refused string, lie func(*core.Metadata)) Attack {
		return Attack{Vendor: vendor, Does: does, Refused: refused, lie: lie}
	}
	return []Attack{
		lie("impostor", "says that it is another vendor's", `Vendor is "adobesign"`, func(m *core.Metadata) { m.Vendor = "adobesign" }),
		lie("negative", "has a negative lifetime", "AccessLifetime is -1h0m0s", func(m *core.Metadata) { m.AccessLifetime = -time.Hour }),
		lie("eternal", "has a lifetime of centuries", "AccessLifetime is", func(m *core.Metadata) { m.AccessLifetime = 1 << 62 }),
		lie("greedy", "has thousands of grant types", "GrantTypes has 30000", func(m *core.Metadata) {
			m.GrantTypes = make([]core.GrantType, 30000)
		}),
		lie("longname", "has a title of half a megabyte", "Title", func(m *core.Metadata) { m.Title = strings.Repeat("x", 1<<19) }),
		lie("painter", "has a title that paints terminals", "control characters", func(m *core.Metadata) { m.Title = "\x1b[2J\x07" }),
		lie("heavy", "says more than a message holds", "over 1 MiB", func(m *core.Metadata) { m.Title = strings.Repeat("x", 2<<20) }),
		lie("bomb", "has a settings schema that doubles thirty times", "over 20000 parts", func(m *core.Metadata) { m.SettingsSchema = doubling(30) }),
		lie("reader", "has a settings schema that refers to a file", "no place in the schema", func(m *core.Metadata) {
			m.SettingsSchema = json.RawMessage(`{"$ref":"file:///etc/passwd"}`)
		}),
	}
}

// doubling is a JSON Schema in which each of n definitions refers twice to the next.
func doubling(n int) json.RawMessage {
	defs := map[string]any{}
	name := func(i int) string { return "a" + strings.Repeat("x", i) }
	for i := range n {
		ref := map[string]any{"$ref": "#/$defs/" + name(i+1)}
		defs[name(i)] = map[string]any{"allOf": []any{ref, ref}}
	}
	defs[name(n)] = map[string]any{"type": "object"}
	raw, _ := json.Marshal(map[string]any{"$ref": "#/$defs/" + name(0), "$defs": defs}) // maps of strings always marshal
	return raw
}

// unanswered is why a process ended that its host killed for a call.
const unanswered = "it left a call unanswered and was killed"

func calls() []Attack {
	hang := func(context.Context) error { select {} }
	exit := func(context.Context) error { os.Exit(5); return nil }
	panics := func(context.Context) error { panic("with a value that nobody is to see") }
	every := func(vendor, does, code string, ends string, do func(context.Context) error) Attack {
		return Attack{
			Vendor: vendor, Does: does, Code: code, Ends: ends, others: do,
			token: func(ctx context.Context, _ core.TokenRequest) (core.TokenResponse, error) {
				return core.TokenResponse{}, do(ctx)
			},
		}
	}
	return []Attack{
		every("hangs", "answers no call", core.CodeTimeout, unanswered, hang),
		every("leaves", "ends in every call", core.CodePlugin, "exit status 5", exit),
		every("panics", "panics in every call", core.CodeInternal, "", panics),
		every("crashes", "panics beside every call", core.CodePlugin, "exit status 2", func(context.Context) error {
			go panic("with a value that nobody is to see")
			select {}
		}),
		{Vendor: "late", Does: "answers after the time of the call", Code: core.CodeTimeout, Ends: unanswered,
			token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
				<-ctx.Done()
				<-time.After(3 * time.Second)
				return answer(r), nil
			}},
	}
}
