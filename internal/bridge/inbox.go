package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/nowait"
)

const (
	// readAtOnce is how much is read of a server's output at a time, in bytes.
	readAtOnce = 64 << 10
	// takesAtOnce is how often is read before it is asked whether to go on.
	takesAtOnce = 16
	// soon is how long a caller looks for its answer before it sleeps. To be woken
	// costs about as much as that on a virtual machine that has nothing else to do.
	soon = 100 * time.Microsecond
	// maxLooks bounds it where time stands still.
	maxLooks = 1000
	// prompt is how long an answer may take, with the waking, that the next one is
	// looked for.
	prompt = 3 * soon
)

var errTooLong = errors.New("it sent a message over the limit")

// inbox takes what the server writes to lines. A goroutine of its own reads and hands
// them on, and while somebody looks for an answer, he does.
type inbox struct {
	child Child
	// max bounds a line, in bytes.
	max int
	// handle gets each line that is not empty, in a slice of its own.
	handle func(line []byte)
	// prompt: the server's last answer came soon.
	prompt atomic.Bool

	mu sync.Mutex
	// buf is read into; part is a line whose end has yet to come.
	buf, part []byte
	// err is why nothing more comes.
	err error
}

// read hands on all lines until there are no more, and says why.
func (i *inbox) read() error {
	var err error
	for more := true; more && err == nil; {
		err = i.child.Await(func() bool {
			i.mu.Lock()
			defer i.mu.Unlock()
			// After many it asks anew whether its time is over: whoever writes faster
			// than is read here leaves no other moment for it.
			more = i.take()
			for n := 1; more && n < takesAtOnce; n++ {
				more = i.take()
			}
			return more || i.err != nil
		})
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		err = i.err
	}
	if line := bytes.TrimSpace(i.part); len(line) > 0 {
		i.handle(line) // its last one, without an end
	}
	return err
}

// take hands on what there is, and reports whether more may be there at once: also
// after fewer bytes than were asked for, because the end may stand behind them, of
// which there is no second word. i.mu is held.
func (i *inbox) take() bool {
	if i.err != nil {
		return false
	}
	if i.buf == nil {
		i.buf = make([]byte, readAtOnce)
	}
	n, err := i.child.TryRead(i.buf)
	for in := i.buf[:n]; len(in) > 0; {
		end := bytes.IndexByte(in, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(in)
		}
		i.part = append(i.part, in[:end]...)
		in = in[end:]
		if len(i.part) > i.max+1 {
			i.part, i.err = nil, fmt.Errorf("%w of %d MiB", errTooLong, i.max>>20)
			return false
		}
		if whole {
			line := bytes.TrimSpace(i.part)
			i.part = nil
			if len(line) > 0 {
				i.handle(line)
			}
		}
	}
	i.err = err
	return n > 0 && err == nil
}

// look reads for somebody whose answer is expected soon, until done or not for long:
// he need not be woken then, and nobody to wake him. Where somebody reads already, he
// is not needed.
func (i *inbox) look(done func() bool) {
	if !i.mu.TryLock() {
		return
	}
	defer i.mu.Unlock()
	until := time.Now().Add(soon)
	for n := 0; n < maxLooks && !done() && i.err == nil && time.Now().Before(until); n++ {
		i.take()
		if !done() {
			nowait.Yield() // to the server, where there is one processor
		}
	}
}
