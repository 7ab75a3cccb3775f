package local_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/lanyardhq/lanyard/internal/local"
)

// The owner of the other end of a real connection, over IPv4, IPv6, and IPv4
// through a socket of IPv6.
func TestPeerUID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ listen, network, host string }{
		{"127.0.0.1:0", "tcp", "127.0.0.1"},
		{"[::1]:0", "tcp", "::1"},
		{"[::]:0", "tcp4", "127.0.0.1"},
		{"[::]:0", "tcp6", "::1"},
	} {
		ln, err := net.Listen("tcp", tc.listen)
		if err != nil {
			t.Logf("%s: %v", tc.listen, err) // a machine without IPv6
			continue
		}
		t.Cleanup(func() { _ = ln.Close() })
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		client, err := net.Dial(tc.network, net.JoinHostPort(tc.host, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		remote, local4 := server.RemoteAddr().String(), server.LocalAddr().String()
		if uid, ok := local.PeerUID(remote, local4); !ok || int(uid) != os.Getuid() {
			t.Errorf("%v: %d %v", tc, uid, ok)
		}
		if _, ok := local.PeerUID(remote, net.JoinHostPort(tc.host, "1")); ok {
			t.Errorf("%v: found a connection to somewhere else", tc)
		}
		// Nobody vouches for what was closed: the kernel lists it as root's.
		_ = client.Close()
		await(t, "the closed end is nobody's", func() bool {
			_, ok := local.PeerUID(remote, local4)
			return !ok
		})
	}
	mappedClient(t)
	for _, bad := range []string{"", "@", "127.0.0.1", "host:1"} {
		if _, ok := local.PeerUID(bad, "127.0.0.1:80"); ok {
			t.Errorf("%q has an owner", bad)
		}
	}
}

// mappedClient: a socket of IPv6 that speaks IPv4, as some programs' all are.
func mappedClient(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Logf("no IPv6: %v", err)
		return
	}
	defer syscall.Close(fd)
	to := &syscall.SockaddrInet6{Port: ln.Addr().(*net.TCPAddr).Port}
	copy(to.Addr[:], net.IPv4(127, 0, 0, 1).To16())
	if err := syscall.Connect(fd, to); err != nil {
		t.Logf("no mapped addresses: %v", err)
		return
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if uid, ok := local.PeerUID(server.RemoteAddr().String(), server.LocalAddr().String()); !ok || int(uid) != os.Getuid() {
		t.Errorf("a mapped address: %d %v", uid, ok)
	}
}

// A process of another user is told from ours.
func TestPeerUIDOfAnother(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	program, _ := reachable(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other := exec.CommandContext(ctx, program, "dial", ln.Addr().String())
	other.Dir = "/"
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 400001, Gid: 400001}}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if uid, ok := local.PeerUID(conn.RemoteAddr().String(), conn.LocalAddr().String()); !ok || uid != 400001 {
		t.Errorf("%d %v", uid, ok)
	}
	cancel()
	_ = other.Wait()
}
