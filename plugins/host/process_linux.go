package host

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes the process the leader of its own group, and has the kernel kill it when this process ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

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
