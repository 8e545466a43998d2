package page

import (
	"strings"
	"testing"
)

func TestShellGoesOnWhereTheLastBlockEnded(t *testing.T) {
	s := NewShell(t, t.TempDir(), "HOME=/home/reader")
	for _, step := range []struct{ script, want string }{
		{"mkdir a && cd a\nexport WHERE=~/esignd\nhere=$PWD\n", ""},
		{"basename $here\necho $WHERE >&2\n", "a /home/reader/esignd"},
		{"cat\n", ""}, // there is nobody to type an answer
		{"sleep 60 &\n", ""},
		{"[[ $(jobs -p | wc -l) = 1 ]] && kill $(jobs -p)\necho 'ended'\n", "ended"},
	} {
		got, err := s.Run(step.script)
		if err != nil || strings.Join(strings.Fields(got), " ") != step.want {
			t.Fatalf("%s: %q %v, want %q", step.script, got, err, step.want)
		}
	}
}

func TestShellEndsAtTheFirstCommandThatFails(t *testing.T) {
	for _, script := range []string{"false\necho after\n", "false | true\necho after\n", "echo $nothing\necho after\n", "exit 3\n"} {
		s := NewShell(t, t.TempDir())
		got, err := s.Run(script)
		if err == nil || strings.Contains(got, "after\n") {
			t.Errorf("%q: %q %v", script, got, err)
		}
		if _, err := s.Run("echo again\n"); err == nil {
			t.Errorf("%q: the shell goes on", script)
		}
	}
}
