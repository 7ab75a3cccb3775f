package host_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

// TestBearerAll: a token for all servers is good for nothing else, and nothing
// else is good for all servers.
func TestBearerAll(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t)
	ctx := t.Context()
	c := w.connect("ada", "notes")
	one := w.mint(c)
	all, err := w.service.MintAll(ctx, host.MintAllRequest{Tenant: "default", UserID: "ada"})
	if err != nil || all.URL != w.service.BaseURL+"/mcp" {
		t.Fatalf("%q %v", all.URL, err)
	}
	if m, err := w.service.BearerAll(ctx, all.Token, "default"); err != nil || m.User != "ada" || m.Tenant != "default" {
		t.Errorf("%+v %v", m, err)
	}
	_, err = w.service.BearerAll(ctx, one.Token, "default")
	wantErr(t, "a connection's token", err, host.ErrNoToken)
	for _, server := range []string{"notes", ""} {
		_, _, err = w.service.Bearer(ctx, all.Token, "default", server)
		wantErr(t, "a token for all at one server", err, host.ErrNoToken)
	}
	_, err = w.service.BearerAll(ctx, "", "default")
	wantErr(t, "no token", err, host.ErrNoToken)
	w.clock.advance(host.DefaultTokenTTL + time.Second)
	_, err = w.service.BearerAll(ctx, all.Token, "default")
	wantErr(t, "an expired one", err, host.ErrNoToken)
}

// TestMembers: the user's own connections, those that can be used or repaired,
// each under a name that stays.
func TestMembers(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t)
	ctx := t.Context()
	first := w.connect("ada", "notes")
	w.clock.advance(time.Minute)
	second, ended := w.connect("ada", "notes"), w.connect("ada", "notes")
	w.connect("grace", "notes")
	_, err := w.store.Update(ctx, ended.Key, func(c *connection.Connection) error {
		c.Status = connection.Deleting
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	members := func(servers ...string) []host.Member {
		t.Helper()
		m, err := w.service.MintAll(ctx, host.MintAllRequest{Tenant: "default", UserID: "ada", Servers: servers})
		if err != nil {
			t.Fatal(err)
		}
		found, err := w.service.Members(ctx, host.Holder{Tenant: "default", User: m.UserID, Servers: m.Servers})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	got := members()
	if len(got) != 2 || got[0].ID != first.ID || got[1].ID != second.ID {
		t.Fatalf("%d members", len(got))
	}
	if got[0].Alias != "notes" || !regexp.MustCompile(`^notes-[0-9a-f]{4}$`).MatchString(got[1].Alias) {
		t.Errorf("%q and %q", got[0].Alias, got[1].Alias)
	}
	if again := members("notes"); again[1].Alias != got[1].Alias {
		t.Errorf("%q became %q", got[1].Alias, again[1].Alias)
	}
	// One that waits for its confirmation has its name already: another account's
	// must not become its own later.
	_, err = w.store.Update(ctx, first.Key, func(c *connection.Connection) error {
		c.Status = connection.Pending
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if waiting := members(); len(waiting) != 1 || waiting[0].ID != second.ID || waiting[0].Alias != got[1].Alias {
		t.Errorf("while the first waits: %d members, %q", len(waiting), waiting[0].Alias)
	}
	// The first account goes: the second does not get its name, nor does it lose
	// its own when another one comes.
	if err := w.store.Delete(ctx, first.Key, func(connection.Connection) error { return nil }); err != nil {
		t.Fatal(err)
	}
	third := w.connect("ada", "notes")
	after := members()
	if len(after) != 2 || after[0].ID != second.ID || after[0].Alias != got[1].Alias || after[1].ID != third.ID || after[1].Alias == "notes" || after[1].Alias == after[0].Alias {
		t.Errorf("after the first has gone: %d members, %q and %q", len(after), after[0].Alias, after[len(after)-1].Alias)
	}
	if none := members("calendar"); len(none) != 0 {
		t.Errorf("a token for another server has %d members", len(none))
	}
}

// TestToolNames: distinct, valid for clients, and of one origin each.
func TestToolNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, alias := range []string{"notes", "notes-1a2b", strings.Repeat("n", 63)} {
		m := host.Member{Connection: connection.Connection{Alias: alias}}
		for _, tool := range []string{"a", "list_files", "a__b", strings.Repeat("x", 40), strings.Repeat("x", 128), strings.Repeat("x", 127) + "y", strings.Repeat("ü", 60)} {
			name := m.ToolName(tool)
			if was, ok := seen[name]; ok {
				t.Errorf("%s of %s is called as %s", tool, alias, was)
			}
			seen[name] = tool + " of " + alias
			if len(name) > 64 {
				t.Errorf("%q has %d bytes", name, len(name))
			}
		}
	}
	if got := (host.Member{Connection: connection.Connection{Alias: "notes"}}).ToolName("list_files"); got != "notes__list_files" {
		t.Errorf("%q", got)
	}
}
