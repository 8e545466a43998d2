package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// often is in how many commands a flag is told once for all of them.
const often = 5

// CommandReference describes the commands of a program: what each does, its arguments, its flags with their defaults and
// variables. Flags that many commands have are told once, at the end.
func CommandReference(program any, options ...kong.Option) (string, error) {
	parser, err := kong.New(program, options...)
	if err != nil {
		return "", err
	}
	all := parser.Model.Leaves(true)
	uses := map[string]int{}
	for _, command := range all {
		for _, f := range flags(command) {
			uses[row(f)]++
		}
	}
	var b strings.Builder
	var shared []string
	for _, command := range all {
		describe(&b, command, func(row string) bool {
			if uses[row] < often {
				return false
			}
			if !slices.Contains(shared, row) {
				shared = append(shared, row)
			}
			return true
		})
	}
	if len(shared) > 0 {
		fmt.Fprintf(&b, "### Flags of many commands of %s\n\n", parser.Model.Name)
		table(&b, shared)
	}
	return b.String(), nil
}

// describe writes the section of one command. isShared reports whether a row is told elsewhere.
func describe(b *strings.Builder, command *kong.Node, isShared func(row string) bool) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n", command.FullPath(), command.Help)
	var rows []string
	for _, p := range command.Positional {
		rows = append(rows, fmt.Sprintf("| `<%s>` | | %s |", p.Name, cell(p.Help)))
	}
	others := false
	for _, f := range flags(command) {
		if r := row(f); isShared(r) {
			others = true
		} else {
			rows = append(rows, r)
		}
	}
	table(b, rows)
	if others {
		name := strings.ToLower(command.FullPath())
		program, _, _ := strings.Cut(name, " ")
		fmt.Fprintf(b, "It has the [flags of many commands](#flags-of-many-commands-of-%s) too.\n\n", program)
	}
}

// flags are those of a command, but for --help, which all have.
func flags(command *kong.Node) []*kong.Flag {
	var all []*kong.Flag
	for _, group := range command.AllFlags(true) {
		for _, f := range group {
			if f.Name != "help" && f.Name != "version" {
				all = append(all, f)
			}
		}
	}
	return all
}

func row(f *kong.Flag) string {
	name := "--" + f.Name
	if value := strings.ToUpper(f.FormatPlaceHolder()); !f.IsBool() && (f.PlaceHolder != "" || f.Default == "") {
		name += "=" + value
	}
	var notes []string
	if f.Required {
		notes = append(notes, "required")
	}
	if f.Default != "" {
		notes = append(notes, "`"+f.Default+"`")
	}
	for _, env := range f.Envs {
		notes = append(notes, "`$"+env+"`")
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, strings.Join(notes, ", "), cell(f.Help))
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func table(b *strings.Builder, rows []string) {
	if len(rows) > 0 {
		fmt.Fprintf(b, "| argument | default, variable | meaning |\n|---|---|---|\n%s\n\n", strings.Join(rows, "\n"))
	}
}
