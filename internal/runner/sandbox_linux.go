package runner

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What every program needs: read and execute, and for devices also write.
var (
	systemDirs  = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf"}
	deviceFiles = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
)

// SandboxMain confines this process and becomes another program:
//
//	[-write DIR]… [-read PATH]… -- PROGRAM [ARG]…
//
// The program can gain no privileges by exec, and has no open file but its
// standard ones (Linux 5.11). With -read or -write, and where
// the kernel has Landlock, it reads only the system's directories and what
// is named, writes only to those named with -write, and signals only what it
// started. It returns only to fail.
func SandboxMain(args []string) error {
	var read, write paths
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var(&read, "read", "")
	flags.Var(&write, "write", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	command := flags.Args()
	if len(command) == 0 {
		return errors.New("sandbox: there is no program to become")
	}
	// The promise is a thread's own, and the one that execs must have made it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("sandbox: give up new privileges: %w", err)
	}
	// Whoever started us may have left files open for all its descendants.
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sandbox: close what is open: %w", err)
	}
	if len(read)+len(write) > 0 {
		files, directories := split(read)
		err := landlock.V5.BestEffort().RestrictPaths(
			landlock.RODirs(append(directories, systemDirs...)...).IgnoreIfMissing(),
			landlock.ROFiles(files...).IgnoreIfMissing(),
			landlock.RWFiles(deviceFiles...).IgnoreIfMissing(),
			landlock.RWDirs(write...).WithRefer(),
		)
		if err != nil {
			return fmt.Errorf("sandbox: restrict the file system: %w", err)
		}
		// Nor may it end the processes of ours that share its user.
		if err := landlock.V6.BestEffort().RestrictScoped(); err != nil {
			return fmt.Errorf("sandbox: restrict signals: %w", err)
		}
	}
	err = syscall.Exec(command[0], command, os.Environ())
	return fmt.Errorf("sandbox: start %s: %w", command[0], err)
}

// split tells files from directories, for which there are other rights. What
// this user cannot reach, or is not there, needs none.
func split(paths []string) (files, directories []string) {
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
		case info.IsDir():
			directories = append(directories, p)
		default:
			files = append(files, p)
		}
	}
	return files, directories
}

type paths []string

func (d *paths) String() string     { return "" }
func (d *paths) Set(s string) error { *d = append(*d, s); return nil }

// landlocked reports whether the kernel can keep a server to its own files.
func landlocked() bool {
	version, err := ll.LandlockGetABIVersion()
	return err == nil && version > 0
}

// Harden keeps other programs of the same user, a server among them, out of
// this process's memory and environment.
func Harden() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
