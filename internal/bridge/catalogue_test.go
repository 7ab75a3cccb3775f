package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

const everything = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{},"resources":{}},"serverInfo":{"name":"s","version":"1"}}`

// listing is a server that answers lists by answer.
func listing(initialized string, answer func(method, cursor string) string) Start {
	return func(context.Context) (Child, error) {
		return play(func(m heard, tell func(string, ...any)) {
			var p struct{ Cursor string }
			_ = json.Unmarshal(m.Params, &p)
			switch {
			case m.Method == "initialize":
				tell(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, initialized)
			case m.Method == "tools/call":
				tell(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
				tell(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID)
			case len(m.ID) > 0:
				if a := answer(m.Method, p.Cursor); a != "" {
					tell(`{"jsonrpc":"2.0","id":%s,%s}`, m.ID, a)
				}
			}
		}), nil
	}
}

// listed starts a server and returns the catalogues that are told within d.
func listed(t *testing.T, start Start, d time.Duration, meanwhile func(*Bridge)) []mcp.Catalogue {
	t.Helper()
	var got []mcp.Catalogue
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Start: start, Listed: func(c mcp.Catalogue) { got = append(got, c) }})
		if err := b.Warm(t.Context()); err != nil {
			t.Error(err)
		}
		if meanwhile != nil {
			meanwhile(b)
		}
		time.Sleep(d)
		synctest.Wait()
		b.Close()
	})
	return got
}

func TestCatalogueIsGathered(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	got := listed(t, listing(everything, func(method, cursor string) string {
		asked.Add(1)
		switch method + cursor {
		case "tools/list":
			return `"result":{"tools":[{"name":"a"}, {"name":"b"}],"nextCursor":"p\u00322"}`
		case "tools/listp22":
			return `"result":{"tools":[],"nextCursor":"p3"}`
		case "tools/listp3":
			return `"result":{"tools":[ {"name":"c"} ],"nextCursor":""}`
		case "prompts/list":
			return `"error":{"code":-32601,"message":"no"}`
		case "resources/list":
			return `"result":{"resources":[]}`
		}
		return "" // templates: it never answers
	}), time.Minute, nil)
	if len(got) != 1 {
		t.Fatalf("%d catalogues", len(got))
	}
	c := got[0]
	if string(c.Initialized) != everything || string(c.Tools) != `[{"name":"a"}, {"name":"b"},{"name":"c"}]` ||
		c.Prompts != nil || string(c.Resources) != "[]" || c.Templates != nil || asked.Load() != 6 {
		t.Errorf("asked %d times: %s %s %s %s", asked.Load(), c.Tools, c.Prompts, c.Resources, c.Templates)
	}
}

// Only what the capabilities name is asked for, and a hostile server gets no
// more than its share of our memory and time.
func TestCatalogueIsBounded(t *testing.T) {
	t.Parallel()
	var pages atomic.Int32
	for name, tc := range map[string]struct {
		initialized string
		answer      func(method, cursor string) string
		asked       int32
		tools       bool
	}{
		"no capabilities": {`{"protocolVersion":"2025-11-25","capabilities":{}}`, func(string, string) string { return `"result":{}` }, 0, false},
		"tools alone":     {`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}`, func(string, string) string { return `"result":{"tools":[]}` }, 1, true},
		"endless":         {everything, func(string, string) string { return `"result":{"tools":[],"nextCursor":"again"}` }, 50, false},
		"large": {everything, func(string, string) string {
			return `"result":{"tools":["` + strings.Repeat("x", 3<<20) + `"],"nextCursor":"more"}`
		}, 3 + 3, false},
		"invalid":   {everything, func(string, string) string { return `"result":{"tools":[nope]}` }, 4, false},
		"no list":   {everything, func(string, string) string { return `"result":{"tools":{}}` }, 4, false},
		"ambiguous": {everything, func(string, string) string { return `"result":{"tools":[],"Tools":[{}]}` }, 4, false},
		"silent":    {everything, func(string, string) string { return "" }, 3, false}, // half a minute for all
	} {
		pages.Store(0)
		got := listed(t, listing(tc.initialized, func(method, cursor string) string {
			pages.Add(1)
			return tc.answer(method, cursor)
		}), 10*time.Minute, nil)
		if len(got) != 1 || (got[0].Tools != nil) != tc.tools || pages.Load() != tc.asked {
			t.Errorf("%s: %d catalogues, asked for %d pages: %.200s", name, len(got), pages.Load(), got)
		}
	}
	// What is no JSON is no catalogue; its clients get it as it is.
	if got := listed(t, listing(`{"protocolVersion":"2025-11-25",nope}`, func(string, string) string { return "" }), time.Minute, nil); len(got) != 0 {
		t.Errorf("%s", got)
	}
}

// A hundred changes are one question, and a list that did not change is no news.
func TestCatalogueChanges(t *testing.T) {
	t.Parallel()
	var asked, edition atomic.Int32
	got := listed(t, listing(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}}}`, func(string, string) string {
		asked.Add(1)
		return fmt.Sprintf(`"result":{"tools":[{"name":"t%d"}]}`, edition.Load())
	}), time.Minute, func(b *Bridge) {
		session := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
		synctest.Wait()
		for e := range int32(2) {
			edition.Store(e)
			for range 100 {
				roundTrip(b, session, toolCall("1", "change", ""))
			}
			time.Sleep(time.Minute)
		}
	})
	if len(got) != 2 || asked.Load() != 3 || string(got[1].Tools) != `[{"name":"t1"}]` {
		t.Errorf("asked %d times, told %d: %s", asked.Load(), len(got), got)
	}
}
