//go:build linux

package tasks

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// figures are what this process holds.
type figures struct {
	goroutines, files, children int
	heap                        uint64 // bytes
}

// heapSlack is what a heap may have grown by, of caches and of the runtime's own,
// when nothing has leaked. A thousand sessions are several times as much.
const heapSlack = 2 << 20

func measure() figures {
	runtime.GC()
	runtime.GC() // what the first one found dead, of finalizers and pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return figures{runtime.NumGoroutine(), files(os.Getpid()), len(processes(func(p process) bool { return p.parent == os.Getpid() })), m.HeapAlloc}
}

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %d children, %.1f MB of heap", f.goroutines, f.files, f.children, float64(f.heap)/1e6)
}

// returns waits until this process holds no more than it did.
func (f figures) returns(t *testing.T) {
	t.Helper()
	now := measure()
	for deadline := time.Now().Add(patience); now.goroutines > f.goroutines || now.files > f.files || now.children > f.children || now.heap > f.heap+heapSlack; now = measure() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("it began with %s, and has %s\n%s", f, now, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("it began with %s, and has %s", f, now)
}

// files is how many a process has open.
func files(pid int) int {
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(open)
}

// resident is a process's memory, in bytes.
func resident(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	var kilobytes int
	_, _ = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// process is a process of this machine that has not ended.
type process struct {
	pid, parent int
	name, dir   string
}

func processes(match func(process) bool) (found []process) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		p := process{}
		p.pid, _ = strconv.Atoi(filepath.Base(proc))
		stat, err := os.ReadFile(proc + "/stat")
		if err != nil {
			continue
		}
		before, after, _ := bytes.Cut(stat, []byte("("))
		end := bytes.LastIndexByte(after, ')')
		if len(before) == 0 || end < 0 {
			continue
		}
		p.name = string(after[:end])
		var state string
		if _, err := fmt.Sscan(string(after[end+1:]), &state, &p.parent); err != nil || state == "Z" || state == "X" {
			continue
		}
		p.dir, _ = os.Readlink(proc + "/cwd")
		if match(p) {
			found = append(found, p)
		}
	}
	return found
}

// within are the processes that work in a directory or below it, whoever started
// them.
func within(dir string) []process {
	return processes(func(p process) bool { return p.dir == dir || strings.HasPrefix(p.dir, dir+"/") })
}
