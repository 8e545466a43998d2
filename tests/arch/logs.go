package arch

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Logs returns a finding for each line of the log, in the packages that match one of the patterns, that tells an operator
// less than it could:
//
//   - it is written without the context that its function was given, and so without the trace that it is part of;
//   - its message is not a sentence's beginning in small letters, or it is put together at run time;
//   - a warning or an error does not say, after a semicolon, what happens next or what to do;
//   - the name of an attribute is not in snake_case.
//
// Files in foreign are let pass: they write others' words.
func (t *Tree) Logs(foreign []string, patterns ...string) []string {
	var found []string
	for _, f := range t.Files {
		if f.Generated || slices.Contains(foreign, f.Name) || !slices.ContainsFunc(patterns, func(p string) bool { return matchFolder(p, f.Dir()) }) {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
				found = append(found, f.logsOf(fn.Body, hasContext(fn.Type))...)
			}
		}
	}
	return found
}

// matchFolder reports whether a folder is the pattern's, or below it where it ends with "/...".
func matchFolder(pattern, dir string) bool {
	below, all := strings.CutSuffix(pattern, "/...")
	return dir == below || all && strings.HasPrefix(dir, below+"/")
}

// logsOf looks at the lines of a function's body. traced says that a context is at hand.
func (f *File) logsOf(body ast.Node, traced bool) []string {
	var found []string
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			found = append(found, f.logsOf(n.Body, traced || hasContext(n.Type))...)
			return false
		case *ast.CallExpr:
			if level, withContext, ok := logCall(n); ok {
				for _, wrong := range wrongs(n, level, withContext, traced) {
					found = append(found, f.at(n.Pos())+": "+wrong)
				}
			}
		}
		return true
	})
	return found
}

// hasContext reports whether a function is given a context by a name, itself or with an HTTP request.
func hasContext(fn *ast.FuncType) bool {
	return slices.ContainsFunc(fn.Params.List, func(p *ast.Field) bool {
		kind := p.Type
		if star, ok := kind.(*ast.StarExpr); ok {
			kind = star.X
		}
		sel, ok := kind.(*ast.SelectorExpr)
		if !ok || len(p.Names) == 0 || p.Names[0].Name == "_" {
			return false
		}
		of, ok := sel.X.(*ast.Ident)
		return ok && (of.Name == "context" && sel.Sel.Name == "Context" || of.Name == "http" && sel.Sel.Name == "Request")
	})
}

// logCall reports whether a call writes a line, at which level, and whether in a context.
func logCall(call *ast.CallExpr) (level string, withContext, ok bool) {
	sel, isMethod := call.Fun.(*ast.SelectorExpr)
	if !isMethod || !slices.Contains([]string{"log", "slog", "logger", "Logger"}, lastName(sel.X)) {
		return "", false, false
	}
	level, withContext = strings.CutSuffix(sel.Sel.Name, "Context")
	return level, withContext, slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, level)
}

// lastName is the last name of an expression such as s.cfg.Logger or bus.Logger().
func lastName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.CallExpr:
		return lastName(x.Fun)
	}
	return ""
}

var (
	sentence  = regexp.MustCompile(`^(?:[a-z]|[A-Z]{2})[^\n]*[^.!\n]$`)
	attribute = regexp.MustCompile(`^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$`)
)

// wrongs says what is wrong with a line of a level.
func wrongs(call *ast.CallExpr, level string, withContext, traced bool) []string {
	var found []string
	args := call.Args
	if withContext {
		args = args[1:]
	} else if traced {
		found = append(found, fmt.Sprintf("%sContext tells the trace; %s does not", level, level))
	}
	message, ok := literal(args[0])
	switch {
	case !ok:
		found = append(found, "the message is not written here: nobody can look for it")
	case !sentence.MatchString(message):
		found = append(found, fmt.Sprintf("%q: a message begins with a small letter, or with a name in capitals, and has no full stop", message))
	case (level == "Warn" || level == "Error") && !strings.Contains(message, "; "):
		found = append(found, fmt.Sprintf("%q: say after a semicolon what happens next, or what to do", message))
	}
	for i := 1; i < len(args) && !call.Ellipsis.IsValid(); i += 2 {
		if key, ok := literal(args[i]); ok && !attribute.MatchString(key) {
			found = append(found, fmt.Sprintf("the attribute %q is not in snake_case", key))
		}
	}
	return found
}

// literal is the text of a string that is written in the source, in one part or several.
func literal(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := literal(x.X)
		right, also := literal(x.Y)
		return left + right, ok && also
	}
	return "", false
}
