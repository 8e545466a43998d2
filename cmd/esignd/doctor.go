package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus"
)

// examineWithin bounds the whole of doctor.
const examineWithin = 2 * time.Minute

type doctorCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration, of an esignd that runs or is stopped."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// errProblems is the end of a doctor that found any; what they are was printed.
var errProblems = errors.New("problems were found")

func (c doctorCommand) Run(ctx context.Context, s streams) error {
	cfg, err := esignd.LoadConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	found := []bus.Finding{{Part: "config", Level: bus.Fine, Text: c.Config + " is in order"}}
	found = append(found, esignd.Doctor(ctx, cfg)...)
	if err := c.print(s.out, found); err != nil {
		return err
	}
	for _, f := range found {
		if f.Level == bus.Problem {
			return errProblems
		}
	}
	return nil
}

func (c doctorCommand) print(w io.Writer, found []bus.Finding) error {
	if c.JSON {
		return printJSON(w, found)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range found {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", f.Level, f.Part, f.Text)
		if f.Do != "" {
			_, _ = fmt.Fprintf(table, "\t\t→ %s\n", f.Do)
		}
	}
	return table.Flush()
}
