//go:build unix && !linux

package host

import "syscall"

// ownGroup makes the process the leader of its own group. When this process is killed, the plugin ends by itself.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func restrict(int) {}

func memory(int) int64 { return 0 }

// reap waits for the process to end and ends what is left of its group.
func (p *process) reap() {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.cmd.Process.Pid)
	p.setReaped(err)
}
