package local

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// PeerUID returns the user that owns the other end of a TCP connection within
// this machine, whose ends are remote and local as the server sees them
// (ADDRESS:PORT). It is not ok if the other end is on another machine, is
// closed or half closed, or cannot be found: then nobody can be vouched for.
func PeerUID(remote, local string) (uid uint32, ok bool) {
	peer, err1 := netip.ParseAddrPort(remote)
	us, err2 := netip.ParseAddrPort(local)
	if err1 != nil || err2 != nil {
		return 0, false
	}
	// The kernel gives its tables out a page at a time, and a row can be passed
	// over when others come and go meanwhile.
	for range tableReads {
		// An IPv6 socket may speak IPv4, and is then listed with the former.
		for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			if uid, ok := socketOwner(table, plain(peer), plain(us)); ok {
				return uid, true
			}
		}
	}
	return 0, false
}

// tableReads is how often a table is looked through for a connection.
const tableReads = 5

// socketOwner finds the socket with these ends in a table of the kernel's; see
// proc_pid_net(5). Its columns: number, local and remote address, state,
// queues, timer, retransmits, uid, timeout, inode.
func socketOwner(table string, from, to netip.AddrPort) (uint32, bool) {
	f, err := os.Open(table)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		row := strings.Fields(lines.Text())
		// A socket that nobody holds any more is listed as root's; those that
		// are established (01) have an owner.
		if len(row) < 10 || row[3] != "01" || row[9] == "0" || endpoint(row[1]) != from || endpoint(row[2]) != to {
			continue
		}
		uid, err := strconv.ParseUint(row[7], 10, 32)
		return uint32(uid), err == nil
	}
	return 0, false
}

// endpoint reads an address as the kernel prints it: words of 32 bits in the
// machine's byte order, and the port, in hexadecimal. What is none is zero.
func endpoint(s string) netip.AddrPort {
	address, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(address)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, _ := netip.AddrFromSlice(raw)
	return plain(netip.AddrPortFrom(ip, uint16(number)))
}

// plain is the IPv4 address of a mapped one, and has no zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
