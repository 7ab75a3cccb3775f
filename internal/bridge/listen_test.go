package bridge

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

func listenBody(id, filter string) string {
	return modernBody(id, "subscriptions/listen", "{}", `"notifications":`+filter+`,`)
}

// next is the next message of a stream.
func (s *streamed) next(t *testing.T) string {
	t.Helper()
	return receive(t, s.lines)
}

const (
	toolsChanged = "notifications/tools/list_changed"
	updated      = "notifications/resources/updated"
)

// Each subscription hears of what it asked for and of nothing else, under its own
// id, whatever the server and however many there are; also once another process
// has taken over.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*played{"legacy": {legacy: true}, "both": {legacy: true, modern: true}, "modern": {modern: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := New(Config{Start: server.start, Drain: time.Minute})
			t.Cleanup(b.Close)
			tools := open(t, b, listenBody(`"tools"`, `{"toolsListChanged":true,"promptsListChanged":true}`))
			if got := tools.next(t); got != `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"tools"},"notifications":{"toolsListChanged":true}}}` {
				t.Errorf("%s", got)
			}
			one := open(t, b, listenBody(`1`, `{"resourceSubscriptions":["x://1","x://both"]}`))
			two := open(t, b, listenBody(`2`, `{"resourceSubscriptions":["x://2","x://both"]}`))
			for _, s := range []*streamed{one, two} {
				if got := s.next(t); !strings.Contains(got, `"resourceSubscriptions":["x://`) {
					t.Errorf("%s", got)
				}
			}
			said := func(id, uri string) string {
				return `{"jsonrpc":"2.0","method":"` + updated + `","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `},"uri":"` + uri + `"}}`
			}
			for round := range 2 {
				k := b.modern
				if name == "legacy" {
					k = b.shared
				}
				if round == 1 {
					if err := b.Swap(t.Context(), server.start, false); err != nil {
						t.Fatal(err)
					}
				}
				// Until the server is subscribed to all.
				eventually(t, "it is subscribed", func() bool {
					k.subs.settling <- struct{}{}
					defer func() { <-k.subs.settling }()
					return k.subs.at == k.processes()[0] && len(k.subs.has) == 3 && (name == "legacy" || k.subs.open != nil)
				})
				server.mu.Lock()
				n := server.starts
				if len(server.listens) > 1 {
					t.Errorf("the server has %d subscriptions", len(server.listens))
				}
				server.mu.Unlock()
				server.change(n, updated, `"uri":"x://1"`)
				server.change(n, updated, `"uri":"x://none"`)
				server.change(n, updated, `"uri":"x://both"`)
				server.change(n, toolsChanged, "")
				if got := []string{one.next(t), one.next(t)}; !slices.Equal(got, []string{said("1", "x://1"), said("1", "x://both")}) {
					t.Errorf("%q", got)
				}
				if got := two.next(t); got != said("2", "x://both") {
					t.Errorf("%s", got)
				}
				if got := tools.next(t); got != `{"jsonrpc":"2.0","method":"`+toolsChanged+`","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"tools"}}}` {
					t.Errorf("%s", got)
				}
			}
			two.cancel()
			<-two.done
			if name == "legacy" && len(server.told("2 resources/unsubscribe x://2")) != 1 {
				t.Errorf("not unsubscribed: %q", server.told("2 "))
			}
			b.Close()
			if got := one.next(t); got != `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}}` {
				t.Errorf("at the end: %s", got)
			}
			for got := range two.lines {
				t.Errorf("after it was closed: %s", got)
			}
		})
	}
}

// Subscriptions are bounded in number, size and time.
func TestSubscriptionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Start: (&played{legacy: true}).start, MaxListens: 1, ListenFor: time.Hour})
		defer b.Close()
		s := open(t, b, listenBody("1", `{"toolsListChanged":true}`))
		<-s.lines
		for want, tc := range map[string]struct {
			status int
			body   string
		}{
			"too many subscriptions": {http.StatusServiceUnavailable, `{"toolsListChanged":true}`},
			"at most 100 resources":  {http.StatusBadRequest, `{"resourceSubscriptions":["x` + strings.Repeat(`","x`, maxWatched) + `"]}`},
			"the object":             {http.StatusBadRequest, `null`},
			"the object not":         {http.StatusBadRequest, `7`},
		} {
			w := modern(t, b, "subscriptions/listen", `"notifications":`+tc.body+`,`)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), want[:10]) {
				t.Errorf("%s: %d %s", want, w.Code, w.Body)
			}
		}
		began := time.Now()
		if got := <-s.lines; !strings.Contains(got, `"resultType":"complete"`) || time.Since(began) != time.Hour {
			t.Errorf("after %s: %s", time.Since(began), got)
		}
		<-s.done
		if b.shared.subs.count() != 0 {
			t.Error("it is still kept")
		}
		// Nothing that the server can tell is a subscription that ends at once.
		w := modern(t, b, "subscriptions/listen", `"notifications":{"promptsListChanged":true},`)
		if strings.Count(w.Body.String(), "data: ") != 2 || !strings.Contains(w.Body.String(), `"notifications":{}`) {
			t.Errorf("%s", w.Body)
		}
	})
}

// A server that does not answer holds a subscription up for so long and no
// longer, however much it is asked.
func TestSubscriptionToASilentServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Start: (&played{legacy: true, silent: true}).start})
		defer b.Close()
		began := time.Now()
		s := open(t, b, listenBody("1", `{"resourceSubscriptions":["x://1","x://2","x://3"]}`))
		if got := <-s.lines; !strings.Contains(got, "acknowledged") || time.Since(began) > probeTimeout+subscribeTimeout {
			t.Errorf("after %s: %.100s", time.Since(began), got)
		}
		s.cancel()
		<-s.done
	})
}

// FuzzFilter: whatever a client asks to hear of, the acknowledgement is JSON and
// no more than was asked for.
func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"toolsListChanged":true,"resourceSubscriptions":["a\u0000\"b"]}`), "a\"b")
	p := &process{result: []byte(`{"capabilities":` + playedCapabilities + `}`)}
	f.Fuzz(func(t *testing.T, raw []byte, uri string) {
		var want filter
		if json.Unmarshal(raw, &want) != nil {
			return
		}
		sub := &subscription{id: []byte("1"), want: p.offers(want)}
		if sub.want.Prompts || sub.want.Tools && !want.Tools {
			t.Errorf("agreed to %+v of %+v", sub.want, want)
		}
		m, err := mcp.Parse(sub.notification(updated, uri))
		if err != nil || !json.Valid(m.Raw) || m.Method != updated && uri != "" {
			t.Errorf("%s: %v", m.Raw, err)
		}
	})
}
