package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Calls in flight finish on the old server, held calls reach the new one, and
// the sessions stay.
func TestSwapHolds(t *testing.T) {
	t.Parallel()
	var s starts
	b, connect := serving(t, Config{Start: s.start})
	c := connect()
	old := s.newest()
	slow := make(chan string, 1)
	go func() { slow <- c.tool("1", "wait", `{"text":"slow"}`) }()
	eventually(t, "the call waits", func() bool { return textOf(t, c.tool("2", "waiting", "")) == "1" })

	gate, starting := make(chan struct{}), make(chan struct{})
	swapped := make(chan error, 1)
	go func() {
		swapped <- b.Swap(t.Context(), func(ctx context.Context) (Child, error) {
			close(starting)
			<-gate
			return s.start(ctx)
		}, true)
	}()
	<-starting
	held := make(chan string, 1)
	before := b.sessions[c.session].busy.Load()
	go func() { held <- c.tool("3", "echo", `{"text":"held"}`) }()
	eventually(t, "the call has arrived", func() bool { return b.sessions[c.session].busy.Load() > before })
	select {
	case got := <-held:
		t.Fatalf("a call was answered while held: %s", got)
	default:
	}
	close(gate)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, receive(t, held)); got != "2:held" {
		t.Errorf("the held call: %q", got)
	}
	old.fixture.mu.Lock()
	open := old.fixture.open
	old.fixture.mu.Unlock()
	for id, text := range open {
		old.fixture.text([]byte(id), "1:"+text)
	}
	if got := textOf(t, receive(t, slow)); got != "1:slow" {
		t.Errorf("the call in flight: %q", got)
	}
	<-old.done
}

func TestSwapWithoutHold(t *testing.T) {
	t.Parallel()
	var s starts
	b, connect := serving(t, Config{Start: s.start})
	c := connect()
	if err := b.Swap(t.Context(), func(ctx context.Context) (Child, error) {
		if got := textOf(t, c.tool("1", "echo", `{"text":"meanwhile"}`)); got != "1:meanwhile" {
			t.Errorf("%q", got)
		}
		return s.start(ctx)
	}, false); err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, c.tool("1", "echo", `{"text":"after"}`)); got != "2:after" {
		t.Errorf("%q", got)
	}
}

// A swap that fails leaves the old server at work, held calls included.
func TestSwapFails(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		var s starts
		b, connect := serving(t, Config{Start: s.start})
		c := connect()
		err := b.Swap(t.Context(), func(context.Context) (Child, error) { return nil, errors.New("broken") }, hold)
		if err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("%v", err)
		}
		if got := textOf(t, c.tool("1", "echo", `{"text":"on"}`)); got != "1:on" {
			t.Errorf("%q", got)
		}
	}
}

// Sixteen callers never notice that real processes are swapped under them.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	for _, perClient := range []bool{false, true} {
		t.Run(fmt.Sprintf("perClient=%v", perClient), func(t *testing.T) {
			t.Parallel()
			b, connect := serving(t, Config{Start: self("server", "LABEL=0").Start, PerClient: perClient})
			var stop atomic.Bool
			var calls atomic.Int64
			var wg sync.WaitGroup
			callers := 16
			if perClient {
				callers = 3
			}
			var clients []*client
			for range callers {
				clients = append(clients, connect())
			}
			for i, c := range clients {
				wg.Go(func() {
					for n := 0; !stop.Load(); n++ {
						want := fmt.Sprintf("%d/%d", i, n)
						body := c.tool(fmt.Sprint(n), "echo", `{"text":"`+want+`"}`)
						if !strings.HasSuffix(textOf2(body), ":"+want) {
							t.Errorf("dropped: %s", body)
							return
						}
						calls.Add(1)
					}
				})
			}
			for n := 1; n <= 4; n++ {
				before := calls.Load()
				if err := b.Swap(t.Context(), self("server", fmt.Sprint("LABEL=", n)).Start, n%2 == 0); err != nil {
					t.Error(err)
				}
				for _, c := range clients {
					if got := textOf(t, c.tool(`"x"`, "echo", "")); got != fmt.Sprint(n, ":") {
						t.Errorf("after swap %d: answered by %q", n, got)
					}
				}
				eventually(t, "calls go on", func() bool { return calls.Load() > before+20 || t.Failed() })
			}
			stop.Store(true)
			wg.Wait()
		})
	}
}
