package page

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/esignd/esignd/tests/transcript"
)

// terminal has one script in it that stays, until the test's end interrupts it.
type terminal struct {
	output transcript.Transcript
	ended  chan struct{}
}

// open types a script into a terminal of its own.
func (s *Session) open(script string) (*terminal, error) {
	term := &terminal{ended: make(chan struct{})}
	cmd := exec.Command("bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", s.here(script))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.folder, &term.output, &term.output
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // it is interrupted
		close(term.ended)
	}()
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // it may have ended
		select {
		case <-term.ended:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-term.ended
			s.t.Errorf("this does not end when it is interrupted: %s", script)
		}
	})
	return term, nil
}

// await waits until the output is as wanted.
func (t *terminal) await(wanted func(output string) bool) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for ended := false; !wanted(t.output.String()); {
		if ended {
			return fmt.Errorf("it ended, after it printed:\n%s", t.output.String())
		}
		select {
		case <-t.ended:
			ended = true
		case <-late:
			return fmt.Errorf("within a minute it does not print what the page shows, but:\n%s", t.output.String())
		case <-look.C:
		}
	}
	return nil
}
