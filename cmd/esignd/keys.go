package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus"
)

type keysCommands struct {
	Status keysStatus `cmd:"" help:"Show the keys, their age, and how much is sealed with each."`
	Rotate keysRotate `cmd:"" help:"Make a new key and seal everything with it. Run again, it goes on where it was stopped."`
	Drop   keysDrop   `cmd:"" help:"Remove old keys, with which nothing is sealed any more. Backups from before a rotation need them."`
	Rewrap keysRewrap `cmd:"" help:"Wrap the keyset with another key than keys.wrap."`
}

// keysTarget is the daemon of this machine that is asked.
type keysTarget struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration of the esignd that runs on this machine."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// ask asks the daemon and prints the keys as they are then.
func (t keysTarget) ask(ctx context.Context, s streams, ask func(context.Context, string) (bus.KeyStatus, error)) error {
	dir, err := esignd.LoadDataDir(t.Config, os.Environ())
	if err != nil {
		return err
	}
	st, err := ask(ctx, dir)
	if err != nil {
		return err
	}
	if t.JSON {
		return printJSON(s.out, st)
	}
	return printKeys(s.out, st)
}

type keysStatus struct{ keysTarget }

func (c keysStatus) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, s, esignd.AskKeyStatus)
}

type keysRotate struct{ keysTarget }

func (c keysRotate) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, s, esignd.AskKeysRotate)
}

type keysDrop struct{ keysTarget }

func (c keysDrop) Run(ctx context.Context, s streams) error { return c.ask(ctx, s, esignd.AskKeysDrop) }

func printKeys(w io.Writer, st bus.KeyStatus) error {
	wrapped := "wrapped"
	if !st.Wrapped {
		wrapped = "in the clear: set keys.wrap"
	}
	_, _ = fmt.Fprintf(w, "keyset %s, %s\n", st.File, wrapped)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KEY\tROLE\tMADE\tRECORDS\tWAITING OUTCOMES")
	for _, k := range st.Keys {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%d\n", k.ID, k.Role, cmp.Or(age(k.Made), "-"), k.Records, k.Spooled)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, k := range st.Keys {
		if k.Damaged > 0 {
			_, _ = fmt.Fprintf(w, "%d records of key %d are damaged; the log names them\n", k.Damaged, k.ID)
		}
	}
	if st.Foreign > 0 {
		_, _ = fmt.Fprintf(w, "%d records are sealed with keys that are not in the keyset\n", st.Foreign)
	}
	for _, r := range st.Replicas {
		_, _ = fmt.Fprintf(w, "esignd %s on %s seals with %d\n", r.Owner, r.Host, r.Primary)
		if r.Error != "" {
			_, _ = fmt.Fprintf(w, "  and cannot read the keyset as it is now: %s\n", r.Error)
		}
	}
	return nil
}

// age writes a time, and how long ago it was.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	since := time.Since(t)
	ago := since.Round(time.Second).String()
	if since > 48*time.Hour {
		ago = fmt.Sprintf("%d days", int(since.Hours()/24))
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), ago)
}

type keysRewrap struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration, with the present key in keys.wrap."`
	Env    string `xor:"to" required:"" placeholder:"NAME" help:"The environment variable that holds the new key: 32 bytes in base64 or hexadecimal."`
	File   string `xor:"to" required:"" type:"existingfile" placeholder:"PATH" help:"The file that holds it."`
}

func (c keysRewrap) Run(ctx context.Context, s streams) error {
	path, err := esignd.RewrapKeys(ctx, c.Config, os.Environ(), c.Env, c.File)
	if err != nil {
		return err
	}
	ref := "{env: " + c.Env + "}"
	if c.File != "" {
		ref = "{file: " + c.File + "}"
	}
	_, err = fmt.Fprintf(s.out, "%s is wrapped with the new key.\nSay keys: {wrap: %s} in the configuration of each esignd that shares it; "+
		"one that runs goes on, and needs the new key at its next start.\n", path, ref)
	return err
}
