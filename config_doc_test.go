package esignd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/tests/page"
)

// setting is what the schema says of a setting, or of a group of them.
type setting struct {
	Title       string
	Description string
	Type        string
	Format      string // in words
	Pattern     string
	Ref         string `json:"$ref"`
	Default     any
	Const       any
	Enum        []any
	Minimum     *int
	Maximum     *int
	AnyOf       []setting
	Items       *setting
	Properties  json.RawMessage
	Required    []string
}

// kind says what a setting takes.
func (s setting) kind() string {
	switch {
	case s.Format != "":
		return s.Format
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case s.Ref == "#/$defs/secret":
		return "[secret](#secrets)"
	case s.Pattern != "":
		words, _, _ := strings.Cut(esignd.PatternWords(s.Pattern), ";")
		return strings.TrimPrefix(words, "takes ")
	case s.Items != nil:
		return "list of " + s.Items.kind()
	case s.Type == "boolean":
		return "`true` or `false`"
	case s.Type == "integer" && s.Maximum != nil:
		return fmt.Sprintf("whole number from %d to %d", *s.Minimum, *s.Maximum)
	case s.Type == "integer":
		return "whole number"
	}
	var forms []string
	for _, form := range s.AnyOf {
		forms = append(forms, form.kind())
	}
	for _, value := range s.Enum {
		forms = append(forms, fmt.Sprintf("`%v`", value))
	}
	if forms == nil {
		return s.Type
	}
	return strings.Join(forms, " or ")
}

// fallback is what counts where a setting is not there.
func (s setting) fallback(required bool) string {
	text := strings.Trim(fmt.Sprint(s.Default), "[]")
	switch {
	case required:
		return "required"
	case s.Default == nil:
		return "not set"
	case text == "" || text == "map":
		return "empty"
	}
	return fmt.Sprintf("`%v`", s.Default)
}

// reference is what the schema says, as a page shows it: a table of settings, and below it what each is.
type reference struct {
	t            *testing.T
	table, words strings.Builder
}

// sections describes all settings, each group below a heading.
func sections(t *testing.T, schema setting) string {
	t.Helper()
	var all strings.Builder
	for _, name := range page.Members(t, schema.Properties) {
		r := reference{t: t}
		top := member(t, schema, name)
		fmt.Fprintf(&all, "### %s\n\n", top.Title)
		if len(top.group().Properties) > 0 && top.Description != "" {
			all.WriteString(top.Description + "\n\n")
			top.Description = ""
		}
		r.add(name, top, slices.Contains(schema.Required, name))
		fmt.Fprintf(&all, "| setting | type | default | variable |\n|---|---|---|---|\n%s\n%s", &r.table, &r.words)
	}
	return all.String()
}

func member(t *testing.T, group setting, name string) setting {
	t.Helper()
	all := map[string]setting{}
	if err := json.Unmarshal(group.Properties, &all); err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// group is the setting, or of a list what an item is.
func (s setting) group() setting {
	if s.Items != nil {
		return *s.Items
	}
	return s
}

// add describes a setting, and what it holds.
func (r *reference) add(path string, s setting, required bool) {
	if s.Description != "" {
		fmt.Fprintf(&r.words, "`%s`: %s\n\n", path, s.Description)
	}
	group := s.group()
	if len(group.Properties) == 0 {
		r.row(path, s, required)
	} else if s.Items != nil {
		path += "[]"
	}
	for _, form := range append(s.AnyOf, group) {
		if len(form.Properties) == 0 {
			continue
		}
		for _, name := range page.Members(r.t, form.Properties) {
			r.add(path+"."+name, member(r.t, form, name), slices.Contains(form.Required, name))
		}
	}
}

func (r *reference) row(path string, s setting, required bool) {
	variable := ""
	if slices.Contains(esignd.Overridable(), path) {
		variable = "`" + esignd.VariableOf(path) + "`"
	}
	fmt.Fprintf(&r.table, "| `%s` | %s | %s | %s |\n", path, s.kind(), s.fallback(required), variable)
}

// TestReferenceOfTheConfiguration keeps the settings of docs/configuration.md in step with the schema.
func TestReferenceOfTheConfiguration(t *testing.T) {
	text, err := os.ReadFile("docs/configuration.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema setting
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	page.Generated(t, "docs/configuration.md", "settings", sections(t, schema))
}

// TestTheWholeExampleIsWhole holds that the whole example has every setting. That it loads is held in tests/site, as of every
// configuration that is shown.
func TestTheWholeExampleIsWhole(t *testing.T) {
	text, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\n## A whole example\n")
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(after)
	if example == nil {
		t.Fatal("there is no whole example")
	}
	for path := range schemaSettings(t) {
		name := path[strings.LastIndexAny(path, ".")+1:]
		if !regexp.MustCompile(`\b` + name + `:`).MatchString(example[1]) {
			t.Errorf("the whole example does not have %s", path)
		}
	}
}
