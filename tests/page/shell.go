package page

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ended is the line with which the shell says that a block has ended, before its exit status.
const ended = "--- the block has ended: "

// Shell is a terminal in which somebody types: folder, variables and background jobs last from one block to the next.
// The first command that fails ends it. It is for one goroutine.
type Shell struct {
	ctx    context.Context // of the whole session
	cmd    *exec.Cmd
	in     io.WriteCloser
	output *bufio.Scanner
	folder string // for the blocks themselves
	n      int
}

// openShell starts a shell in the folder. The context's end, and close, end it and all that it started.
func openShell(ctx context.Context, folder string, env []string) (*Shell, error) {
	blocks, err := os.MkdirTemp("", "blocks")
	if err != nil {
		return nil, err
	}
	s := &Shell{ctx: ctx, cmd: exec.CommandContext(ctx, "bash", "--noprofile", "--norc"), folder: blocks}
	s.cmd.Dir, s.cmd.Env = folder, env
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.cmd.Stdout // one output, as a terminal has
	s.output = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(s.in, "set -euo pipefail\ntrap 'printf \"\\n%s%%d\\n\" $?' EXIT\n", ended)
	return s, err
}

// Run types a block and returns what it printed. It fails where a command of it does.
func (s *Shell) Run(script string) (string, error) {
	s.n++
	path := filepath.Join(s.folder, strconv.Itoa(s.n))
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		return "", err
	}
	// What reads standard input would read the next block.
	if _, err := fmt.Fprintf(s.in, "source %q </dev/null\nprintf '\\n%s0\\n'\n", path, ended); err != nil {
		return "", fmt.Errorf("the shell has ended: %w", err)
	}
	var output strings.Builder
	for s.output.Scan() {
		if status, found := strings.CutPrefix(s.output.Text(), ended); found && status == "0" {
			return output.String(), nil
		} else if found {
			return output.String(), fmt.Errorf("a command ends with status %s", status)
		}
		output.WriteString(s.output.Text() + "\n")
	}
	return output.String(), errors.Join(errors.New("the shell was ended"), s.output.Err())
}

// close ends the shell, and what it left running.
func (s *Shell) close() error {
	_ = s.in.Close()
	_ = s.cmd.Cancel() // it may have ended
	_ = s.cmd.Wait()   // with the signal's status
	return os.RemoveAll(s.folder)
}

// NewShell opens a shell in the folder, with no environment but PATH, TMPDIR and env. The test's end ends it, and what was
// left running in it.
func NewShell(t testing.TB, folder string, env ...string) *Shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	s, err := openShell(ctx, folder, append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return s
}
