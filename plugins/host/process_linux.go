package host

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes the process the leader of its own group, and has the kernel kill it when this process ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// restrict takes from a process that was just started what a plugin needs not have. That it makes no core files holds
// whatever this process allows itself; that the kernel ends it first when memory runs out, and not its host, is as good as
// the plugin's will: it may take it back. Neither is worth an error.
func restrict(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)
}

// memory returns how much memory the process has, in bytes; 0 where that is not known.
func memory(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// reap waits for the process to end, ends what is left of its group, and only then takes its exit status: until that
// the number of the group cannot be another's.
func (p *process) reap() {
	pid := p.pid()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(pid)
	p.setReaped(p.cmd.Wait())
}
