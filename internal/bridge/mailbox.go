package bridge

import "sync"

// Bounds of a mailbox. Nobody may be listening for hours, and a server may
// log a lot.
const (
	mailboxMessages = 64
	mailboxBytes    = 512 << 10
)

// mailbox holds messages for one event stream until its handler writes them,
// so that a slow client never holds up the reader of the server's output.
type mailbox struct {
	mu    sync.Mutex
	queue [][]byte
	bytes int
	// wake has room for one signal: there is something to take.
	wake chan struct{}
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put reports whether there was room. A single message of any size fits an
// empty mailbox.
func (m *mailbox) put(msg []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 && (len(m.queue) >= mailboxMessages || m.bytes+len(msg) > mailboxBytes) {
		return false
	}
	m.queue = append(m.queue, msg)
	m.bytes += len(msg)
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take empties the mailbox.
func (m *mailbox) take() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue, m.bytes = nil, 0
	return q
}
