package esignd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// problem is one thing that is wrong, at a path such as clients[1].settings.api_url.
type problem struct{ at, text string }

// problems collects everything that is wrong, so that it is told at once.
type problems struct{ list []problem }

func (p *problems) addf(at, format string, args ...any) {
	p.list = append(p.list, problem{at, fmt.Sprintf(format, args...)})
}

// has reports whether something is wrong at a path.
func (p *problems) has(at string) bool {
	return slices.ContainsFunc(p.list, func(one problem) bool { return one.at == at })
}

// err returns the problems in the order of the file, one a line, or nil.
func (p *problems) err(src *source) error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b problem) int {
		_, lineA := src.where(a.at)
		_, lineB := src.where(b.at)
		return cmp.Or(cmp.Compare(lineA, lineB), cmp.Compare(a.at, b.at))
	})
	lines := make([]string, len(p.list))
	for i, one := range p.list {
		at := one.at
		if where, _ := src.where(at); where != "" {
			at += " (" + where + ")"
		}
		lines[i] = "  " + at + ": " + one.text
	}
	return errors.New(strings.Join(lines, "\n"))
}

// suggest names the nearest known one, or all of them where none is near.
func suggest(name string, known []string) string {
	best, distance := "", len(name)/3+2
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %s?", best)
	case len(known) > 0:
		return "; there are " + strings.Join(known, ", ")
	}
	return ""
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+change)
		}
	}
	return row[len(b)]
}

// names lists the keys of a map, sorted.
func names[V any](m map[string]V) []string {
	ns := make([]string, 0, len(m))
	for n := range m {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	return ns
}
