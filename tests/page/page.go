// Package page reads the pages of the documentation as somebody does who follows them: it finds the fenced blocks, types
// those that are commands into a shell, compares what comes out with what the page shows, and keeps the parts of pages
// that are generated.
//
// A block is known by the words behind its fence, of which GitHub shows the first as its language:
//
//	sh                what is typed. It must end with status 0
//	sh stays          what is typed into a terminal of its own and stays there: a server, something that is followed
//	text, json        below an sh: what it prints. … stands for anything in a line, and alone for any lines
//	text link         the same, and the reader opens the link of this output in a browser, and consents
//	json message=NAME a message of the contract, by its schema
//	go from=FILE      stands in that file, of this repository, whatever its indentation
//	LANGUAGE file=NAME what the reader writes to a file of that name
//	yaml              a configuration, which loads; yaml wrong: which does not. One that is indented goes on with the one above
//
// Right above a block can stand, in an HTML comment that no reader sees, which test does what it says where following the
// page does not: <!-- run by: TestName of FILE -->. Above all blocks of a page it can stand for all of them, as
// <!-- page run by: TestName of FILE -->, and <!-- before: COMMAND --> is what stays in a terminal before the page begins.
package page

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Page is a document.
type Page struct {
	Blocks []Block
	// RunBy is the test that runs all of the page: "TestName of FILE". Empty: none does.
	RunBy string
	// Before is the command that stays in a terminal of its own while the page is read. Empty: none.
	Before string
}

// Block is a fenced block of a page.
type Block struct {
	Kind string // sh, text, go, …
	// File is what the reader writes the block to, From where it stands, and Message which schema it has. Empty: none.
	File, From, Message string
	Stays, Link         bool
	// Wrong says that what the block holds is a mistake, and is refused.
	Wrong bool
	// RunBy is the test that does what the block says: "TestName of FILE". Empty: who follows the page does.
	RunBy string
	// Generated says that the block is in a part that is generated.
	Generated bool
	Text      string
	Line      int // of its first fence
}

var (
	fence  = regexp.MustCompile("^( *)```(.*)$")
	marker = regexp.MustCompile(`^ *<!-- (run by|page run by|before): (.+) -->$`)
	list   = regexp.MustCompile(`^ *([-*]|\d+\.) `)
)

// Read finds the blocks of a page. It refuses what it could not check: a block without a language or with a word that it
// does not know, one that does not end, and one that is marked by indentation alone.
func Read(document io.Reader) (Page, error) {
	r := reader{}
	lines := bufio.NewScanner(document)
	for lines.Scan() {
		r.n++
		if err := r.line(lines.Text()); err != nil {
			return Page{}, fmt.Errorf("line %d: %w", r.n, err)
		}
	}
	if r.open != nil {
		return Page{}, fmt.Errorf("line %d: the block does not end", r.open.Line)
	}
	return r.page, lines.Err()
}

// reader is between two lines of a page.
type reader struct {
	page      Page
	n         int    // of the line
	open      *Block // nil: in none
	indent    string // of its fence
	marked    Block  // what a marker above says of the next block
	generated bool
	inList    bool
	blank     bool // the line above is
}

func (r *reader) line(line string) error {
	m := fence.FindStringSubmatch(line)
	switch {
	case r.open != nil && m != nil && m[2] != "":
		return fmt.Errorf("a block begins in that of line %d", r.open.Line)
	case r.open != nil && m != nil:
		r.page.Blocks = append(r.page.Blocks, *r.open)
		r.open = nil
	case r.open != nil:
		r.open.Text += strings.TrimPrefix(line, r.indent) + "\n"
	case m != nil:
		b := r.marked
		b.Line, b.Generated = r.n, r.generated
		r.open, r.indent, r.marked = &b, m[1], Block{}
		return r.open.read(m[2])
	default:
		return r.prose(line)
	}
	return nil
}

// prose reads a line that is in no block.
func (r *reader) prose(line string) error {
	above := r.blank
	r.blank = strings.TrimSpace(line) == ""
	if r.blank {
		return nil
	}
	if r.marked != (Block{}) {
		return errors.New("the comment above is for a block, and none follows it")
	}
	if name, _, ok := region(line); ok {
		r.generated = name != ""
	}
	if m := marker.FindStringSubmatch(line); m != nil {
		r.mark(m[1], m[2])
		return nil
	}
	indented := strings.HasPrefix(line, "    ")
	if indented && above && !r.inList {
		return errors.New("a block by indentation: fence it, and say its language")
	}
	if list.MatchString(line) {
		r.inList = true
	} else if !strings.HasPrefix(line, " ") {
		r.inList = false
	}
	return nil
}

func (r *reader) mark(what, text string) {
	switch what {
	case "run by":
		r.marked.RunBy = text
	case "page run by":
		r.page.RunBy = text
	case "before":
		r.page.Before = text
	}
}

// read reads the words behind a fence.
func (b *Block) read(info string) error {
	words := strings.Fields(info)
	if len(words) == 0 {
		return errors.New("a block without a language: say it behind the fence")
	}
	b.Kind = words[0]
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		texts := map[string]*string{"file": &b.File, "from": &b.From, "message": &b.Message}
		flags := map[string]*bool{"stays": &b.Stays, "link": &b.Link, "wrong": &b.Wrong}
		switch {
		case texts[name] != nil && value != "":
			*texts[name] = value
		case flags[word] != nil:
			*flags[word] = true
		default:
			return fmt.Errorf("%q says nothing behind a fence", word)
		}
	}
	return nil
}

// Commands reports whether there is something to type on the page.
func (p Page) Commands() bool {
	return slices.ContainsFunc(p.Blocks, func(b Block) bool { return b.Kind == "sh" && b.RunBy == "" })
}
