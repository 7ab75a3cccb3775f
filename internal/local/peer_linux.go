package local

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// PeerUID returns the user that owns the other end of a TCP connection within
// this machine, whose ends are remote and local as the server sees them
// (ADDRESS:PORT). It is not ok if the other end is on another machine, is
// closed or half closed, or cannot be found: then nobody can be vouched for.
//
// The kernel is asked for the one socket (sock_diag(7)): its tables under
// /proc/net come a page at a time, and lose rows when others come and go.
func PeerUID(remote, local string) (uid uint32, ok bool) {
	peer, err1 := netip.ParseAddrPort(remote)
	us, err2 := netip.ParseAddrPort(local)
	if err1 != nil || err2 != nil {
		return 0, false
	}
	uid, err := socketOwner(plain(peer), plain(us))
	return uid, err == nil
}

// Sizes and numbers of linux/inet_diag.h and linux/sock_diag.h. Ports and
// addresses are big-endian, everything else is in the machine's order.
const (
	sockDiagByFamily = 20
	requestSize      = unix.NLMSG_HDRLEN + 56 // inet_diag_req_v2
	answerSize       = unix.NLMSG_HDRLEN + 72 // inet_diag_msg
	established      = 1
	// diagTimeout bounds the wait for the kernel, which answers at once.
	diagTimeout = time.Second
)

var errNoSocket = errors.New("there is no such socket")

// socketOwner asks whose the established socket with these ends is.
func socketOwner(from, to netip.AddrPort) (uint32, error) {
	family := byte(unix.AF_INET6)
	if from.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(diagTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return 0, err
	}
	if err := unix.Sendto(fd, diagRequest(family, from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, sender, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	if nl, ok := sender.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
		return 0, errNoSocket // not the kernel's word
	}
	return diagAnswer(answer[:n], from, to)
}

// diagRequest is a netlink message with an inet_diag_req_v2: family, protocol,
// states, then the socket's ports, addresses, interface and cookie.
func diagRequest(family byte, from, to netip.AddrPort) []byte {
	m := make([]byte, requestSize)
	ne := binary.NativeEndian
	ne.PutUint32(m, requestSize)
	ne.PutUint16(m[4:], sockDiagByFamily)
	ne.PutUint16(m[6:], unix.NLM_F_REQUEST)
	body := m[unix.NLMSG_HDRLEN:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	ne.PutUint32(body[4:], 1<<established)
	putEnds(body[8:], from, to, netip.Addr.AsSlice)
	ne.PutUint64(body[48:], ^uint64(0)) // any cookie
	return m
}

// putEnds writes the ports and addresses of an inet_diag_sockid.
func putEnds(b []byte, from, to netip.AddrPort, form func(netip.Addr) []byte) {
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	copy(b[4:20], form(from.Addr()))
	copy(b[20:36], form(to.Addr()))
}

// mapped is the address as a socket of IPv6 that speaks IPv4 has it.
func mapped(a netip.Addr) []byte {
	b := a.As16()
	return b[:]
}

// diagAnswer reads an inet_diag_msg: family, state, the ends as in the request,
// then timers and queues, the owner and the inode.
func diagAnswer(m []byte, from, to netip.AddrPort) (uint32, error) {
	ne := binary.NativeEndian
	if len(m) < answerSize || ne.Uint16(m[4:]) != sockDiagByFamily {
		return 0, errNoSocket // an error message, ENOENT most of all
	}
	body := m[unix.NLMSG_HDRLEN:]
	var ends, mappedEnds [36]byte
	putEnds(ends[:], from, to, netip.Addr.AsSlice)
	putEnds(mappedEnds[:], from, to, mapped)
	got := [36]byte(body[4:40])
	// A socket that nobody holds any more is listed as root's, without inode; a
	// listener could answer for a connection that is gone.
	if body[1] != established || got != ends && got != mappedEnds || ne.Uint32(body[68:]) == 0 {
		return 0, errNoSocket
	}
	return ne.Uint32(body[64:]), nil
}

// plain is the IPv4 address of a mapped one, and has no zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
