//go:build linux

package tasks

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quarry is what a hostile server is after. It is told more than a real one could
// find out: where everything is.
type quarry struct {
	// Dirs and Files are what it has no business with.
	Dirs, Files []string
	// Victim is the server of another task.
	Victim int
	// URLs are asked by GET.
	URLs []string
}

// What it got: by the name of an attempt.
const (
	denied = "denied"
	got    = "got"
)

// outcome names how an attempt went; what is neither had another reason, and
// proves nothing.
func outcome(err error) string {
	switch {
	case err == nil:
		return got
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EXDEV): // EACCES, EPERM, and how Landlock refuses a link
		return denied
	}
	return "neither: " + err.Error()
}

// spyTools are those of a hostile server.
func spyTools() map[string]tool {
	return map[string]tool{
		"whoami": func(string) (string, bool) {
			out, err := json.Marshal(self())
			return string(out), err != nil
		},
		"spy": func(text string) (string, bool) {
			var q quarry
			if err := json.Unmarshal([]byte(text), &q); err != nil {
				return err.Error(), true
			}
			out, err := json.Marshal(spy(q))
			return string(out), err != nil
		},
		"loot": func(string) (string, bool) { return loot(), false },
	}
}

// person is who a server is.
type person struct {
	PID, Runner, UID  int
	Home              string
	Files             []string // that are open: their number, and what it is
	Capabilities, NNP string
}

func self() person {
	p := person{PID: os.Getpid(), Runner: os.Getppid(), UID: os.Getuid(), Home: os.Getenv("HOME")}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch name {
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			p.Capabilities += strings.TrimLeft(value, "0")
		case "NoNewPrivs":
			p.NNP = value
		}
	}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		to, err := os.Readlink(link)
		// What Go's runtime opens for itself is no inheritance.
		if err == nil && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			p.Files = append(p.Files, filepath.Base(link)+" "+strings.SplitN(to, ":", 2)[0])
		}
	}
	return p
}

// spy tries everything at once.
func spy(q quarry) map[string]string {
	out := map[string]string{}
	for name, pid := range map[string]int{"the runner": os.Getppid(), "the victim": q.Victim} {
		for what, err := range peek(pid) {
			out[what+" of "+name] = outcome(err)
		}
		for what, err := range seize(pid) {
			out[what+" "+name] = outcome(err)
		}
	}
	for _, dir := range q.Dirs {
		_, err := os.ReadDir(dir)
		out["list "+dir] = outcome(err)
		err = os.WriteFile(filepath.Join(dir, "planted"), nil, 0o600)
		out["write into "+dir] = outcome(err)
	}
	for _, file := range q.Files {
		_, err := os.ReadFile(file)
		out["read "+file] = outcome(err)
		out["write "+file] = outcome(os.WriteFile(file, nil, 0o600))
		link := filepath.Join(os.Getenv("HOME"), filepath.Base(file))
		_ = os.Remove(link)
		out["link "+file] = outcome(os.Link(file, link))
		if os.Symlink(file, link) == nil {
			_, err = os.ReadFile(link)
			out["read by a symbolic link "+file] = outcome(err)
		}
	}
	for what, err := range rise() {
		out[what] = outcome(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, url := range q.URLs {
		out["ask "+url] = request(client, url)
	}
	return out
}

// peek looks into a process.
func peek(pid int) map[string]error {
	out := map[string]error{}
	for _, name := range []string{"environ", "mem", "maps", "auxv", "io", "stack", "fd/0", "map_files", "fd", "task"} {
		if name == "task" {
			name = fmt.Sprintf("task/%d/environ", pid)
		}
		path := fmt.Sprintf("/proc/%d/%s", pid, name)
		var err error
		switch name {
		case "fd", "map_files":
			_, err = os.ReadDir(path)
		case "mem": // not its beginning, where nothing is
			var f *os.File
			if f, err = os.Open(path); err == nil {
				f.Close()
			}
		default:
			_, err = os.ReadFile(path)
		}
		out[name] = err
	}
	for _, link := range []string{"cwd", "root", "exe"} {
		_, out[link] = os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
	}
	_, out["memory at once"] = unix.ProcessVMReadv(pid, []unix.Iovec{{Base: new(byte), Len: 1}},
		[]unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&out)), Len: 1}}, 0)
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		var fd int
		if fd, err = unix.PidfdGetfd(pidfd, 0, 0); err == nil {
			_ = unix.Close(fd)
		}
		_ = unix.Close(pidfd)
	}
	out["a copied file"] = err
	out["environ from a user namespace"] = fromNamespace(pid)
	return out
}

// fromNamespace looks from a namespace in which we are root.
func fromNamespace(pid int) error {
	cmd := exec.Command("/proc/self/exe", "peek", fmt.Sprint(pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}}
	said, err := cmd.Output()
	if err != nil {
		return err // where there are none for us
	}
	if string(said) == denied {
		return fs.ErrPermission
	}
	return fmt.Errorf("%s", said)
}

// peekAt is that process.
func peekAt(pid string) error {
	_, err := os.ReadFile("/proc/" + pid + "/environ")
	if os.Getuid() != 0 {
		err = errors.New("not root in its namespace")
	}
	fmt.Print(outcome(err))
	return nil
}

// seize does something to a process.
func seize(pid int) map[string]error {
	out := map[string]error{"signal": syscall.Kill(pid, 0), "stop": syscall.Kill(pid, syscall.SIGSTOP)}
	if out["stop"] == nil {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if out["trace"] = syscall.PtraceAttach(pid); out["trace"] == nil {
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		_ = syscall.PtraceDetach(pid)
	}
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 30}
	out["limit"] = unix.Prlimit(pid, unix.RLIMIT_CORE, &limit, nil)
	out["slow down"] = unix.Setpriority(unix.PRIO_PROCESS, pid, 1)
	out["have the kernel kill"] = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)
	return out
}

// rise tries to become more than we are.
func rise() map[string]error {
	out := map[string]error{}
	// Calls by number act on this thread alone, which ends with its goroutine.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for name, call := range map[string][4]uintptr{
			"become root":          {unix.SYS_SETUID, 0},
			"become root's":        {unix.SYS_SETGID, 0},
			"become root, in full": {unix.SYS_SETRESUID, 0, 0, 0},
			"join root's groups":   {unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(new(uint32)))},
			"change the root":      {unix.SYS_CHROOT, uintptr(unsafe.Pointer(&[]byte("/\x00")[0]))},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				out[name] = errno
			} else {
				out[name] = nil
			}
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		all := [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_PTRACE, Permitted: 1 << unix.CAP_SYS_PTRACE}}
		out["take a capability"] = unix.Capset(&header, &all[0])
		out["mount"] = unix.Mount("none", os.Getenv("HOME"), "tmpfs", 0, "")
	}()
	<-done
	return out
}

func request(client *http.Client, url string) string {
	resp, err := client.Get(url)
	if err != nil {
		return "neither: " + err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		return got
	}
	return denied
}

// loot is all that can be read of the processes there are, our own environment
// included.
func loot() string {
	var out strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	files, _ := filepath.Glob("/proc/[0-9]*/*")
	for _, f := range files {
		switch filepath.Base(f) {
		case "environ", "cmdline", "comm", "status", "limits", "maps", "mountinfo", "auxv", "wchan", "syscall":
		default:
			continue
		}
		// Our own memory holds what we are asked to look for.
		if data, err := os.ReadFile(f); err == nil && ctx.Err() == nil {
			fmt.Fprintf(&out, "%s: %q\n", f, data)
		}
	}
	return out.String()
}
