package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// subject is what is measured.
type subject struct {
	name string
	load func(callers int, length time.Duration) (sample, error)
	cmd  *exec.Cmd
	// server is the command line by which an echo server is told from the rest.
	server string
	stop   func()
}

// bridge starts a bridge in front of the echo server, with one session. What it
// says goes into a file, where a person looks when it does not work.
func bridge(name, addr string, command, server []string, log *os.File) (*subject, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &subject{name: name, cmd: cmd, server: strings.Join(server, "\x00"), stop: func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}}
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		opened, err := open(addr)
		if err == nil {
			s.load = opened.load
			return s, nil
		}
		if time.Since(begun) > patience {
			s.stop()
			return nil, fmt.Errorf("%s does not serve (see %s): %w", name, log.Name(), err)
		}
	}
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", err
	}
	return port, ln.Close()
}

// memory is what the processes of a subject have resident, in bytes: own the
// bridge's own, tree with all that it started but the echo server, peak the most
// that own ever was.
type memory struct{ own, tree, peak int64 }

func (s *subject) memory() (memory, error) {
	if s.cmd == nil {
		return memory{}, nil
	}
	pid := s.cmd.Process.Pid
	m := memory{own: status(pid, "VmRSS"), peak: status(pid, "VmHWM")}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		other, _ := strconv.Atoi(filepath.Base(dir))
		// Of those that have ended meanwhile nothing is found.
		if group, err := syscall.Getpgid(other); err != nil || group != pid && stat(other, 4) != pid {
			continue
		}
		line, _ := os.ReadFile(dir + "/cmdline")
		if other == pid || !strings.HasPrefix(string(line), s.server) {
			m.tree += status(other, "VmRSS")
		}
	}
	return m, err
}

// status is a size in /proc/PID/status; 0 if it is not there.
func status(pid int, field string) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), field+":")
	var kilobytes int64
	_, _ = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// stat is a field of /proc/PID/stat by its number in proc_pid_stat(5), beyond the
// name; 0 if it is not there.
func stat(pid, field int) (n int) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if i := field - 3; i < len(fields) {
		n, _ = strconv.Atoi(fields[i])
	}
	return n
}

// tick is the unit of the kernel's times, sysconf(_SC_CLK_TCK) on every Linux.
const tick = 10 * time.Millisecond

// processor is the time that the bridge itself has used of it.
func (s *subject) processor() time.Duration {
	if s.cmd == nil {
		return 0
	}
	pid := s.cmd.Process.Pid
	return time.Duration(stat(pid, 14)+stat(pid, 15)) * tick
}
