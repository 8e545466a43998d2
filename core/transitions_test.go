package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/page"
)

// TestReferenceOfTheLifeOfAGrant keeps the diagram of docs/concepts.md in step with the table of transitions.
func TestReferenceOfTheLifeOfAGrant(t *testing.T) {
	page.Generated(t, "../docs/concepts.md", "states", "```mermaid\n"+stateDiagram()+"```")
}

// stateDiagram draws the table, for Mermaid: a line for each pair of state and cause.
func stateDiagram() string {
	name := func(s State) string {
		if s == unborn {
			return "[*]"
		}
		return string(s)
	}
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n")
	for _, from := range append([]State{unborn}, States()...) {
		for _, t := range transitions {
			if slices.Contains(t.from, from) {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", name(from), name(t.to), t.on)
			}
		}
	}
	return b.String()
}

// TestGrantMovesAsTheTableSays holds that each pair of state and cause that the table has, once, leads where it says, and that no
// other leads anywhere: the diagram is what move does.
func TestGrantMovesAsTheTableSays(t *testing.T) {
	for _, on := range []cause{causeStart, causeIssue, causeCreate, causeConfirm, causeDie, causeRevoke} {
		for _, from := range append([]State{unborn}, States()...) {
			want := []State{}
			for _, row := range transitions {
				if row.on == on && slices.Contains(row.from, from) {
					want = append(want, row.to)
				}
			}
			g := grant{ID: "g", State: from}
			err := g.move(on)
			switch {
			case len(want) > 1:
				t.Errorf("%s in %q is there %d times", on, from, len(want))
			case len(want) == 0 && (err == nil || g.State != from):
				t.Errorf("%s in %q is not in the table and leads to %q", on, from, g.State)
			case len(want) == 1 && (err != nil || g.State != want[0]):
				t.Errorf("%s in %q leads to %q (%v), want %q", on, from, g.State, err, want[0])
			}
		}
	}
}
