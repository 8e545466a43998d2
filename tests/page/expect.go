package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Expect compares an output with what a page shows of it. In the page … stands for anything within its line, and for any
// number of lines where it is alone in one. How much space is between two words does not matter.
func Expect(output, shown string) error {
	if !regexp.MustCompile(`\A` + pattern(shown) + `\z`).MatchString(lines(output)) {
		return fmt.Errorf("the output is another:\n%s\nthe page shows:\n%s", output, shown)
	}
	return nil
}

// Begins is Expect of an output that goes on.
func Begins(output, shown string) bool {
	return regexp.MustCompile(`\A` + pattern(shown)).MatchString(lines(output))
}

func lines(output string) string { return strings.Join(append(squeezed(output), ""), "\n") }

func pattern(shown string) string {
	var b strings.Builder
	for _, line := range squeezed(shown) {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(words(line) + `\n`)
	}
	return b.String()
}

// words is the pattern of a text in which … stands for anything.
func words(shown string) string {
	parts := strings.Split(shown, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return strings.Join(parts, `.*`)
}

// squeezed returns the lines of a text with one space between two words, without empty lines.
func squeezed(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return lines
}

// ExpectJSON compares JSON documents, one after another, with what a page shows of them: the same members, in whatever order and
// layout, and in texts … for anything. A time stands for any time, and where it stands for how long or how often, as
// in expires_in, a number for any that is not negative.
func ExpectJSON(output, shown string) error {
	want, err := documents(shown)
	if err != nil {
		return fmt.Errorf("the page shows no JSON: %w", err)
	}
	got, err := documents(output)
	if err != nil {
		return fmt.Errorf("the output is no JSON: %w\n%s", err, output)
	}
	if where := differs("", got, want); where != "" {
		return fmt.Errorf("the output is another at %s:\n%s\nthe page shows:\n%s", where, output, shown)
	}
	return nil
}

func documents(text string) (all []any, err error) {
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var one any
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

// counts are the names of numbers that depend on the moment.
var counts = []string{"expires_in", "retry_after", "generation", "attempts"}

// differs says where two values are not the same. Empty: they are.
func differs(at string, got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok || !slices.Equal(slices.Sorted(maps.Keys(members)), slices.Sorted(maps.Keys(want))) {
			return at + "."
		}
		for name, value := range want {
			if where := differs(at+"."+name, members[name], value); where != "" {
				return where
			}
		}
	case []any:
		items, ok := got.([]any)
		if !ok || len(items) != len(want) {
			return at + "[]"
		}
		for i := range want {
			if where := differs(fmt.Sprintf("%s[%d]", at, i), items[i], want[i]); where != "" {
				return where
			}
		}
	case float64:
		number, ok := got.(float64)
		if any := slices.Contains(counts, at[strings.LastIndex(at, ".")+1:]); !ok || !any && number != want || number < 0 {
			return at
		}
	case string:
		text, ok := got.(string)
		if !ok || !sameText(text, want) {
			return at
		}
	default:
		if got != want {
			return at
		}
	}
	return ""
}

func sameText(got, want string) bool {
	if isTime(want) {
		return isTime(got)
	}
	return regexp.MustCompile(`(?s)\A` + words(want) + `\z`).MatchString(got)
}

func isTime(text string) bool {
	_, err := time.Parse(time.RFC3339, text)
	return err == nil
}
