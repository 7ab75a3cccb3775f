package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

func richAccess() token.Access {
	at := time.Unix(1_900_000_000, 0)
	return token.Access{
		Tokens: map[string]token.Token{
			"":     {AccessToken: `bot"<tok>`, ExpiresAt: at, Scopes: []string{"a", "b"}},
			"user": {AccessToken: "user-tok"},
		},
		Metadata: map[string]string{"team.id": "T1", "user.id": "U1", "access_token": "must not win"},
		Values:   map[string]token.Secret{"BRAVE_API_KEY": "brave"},
	}
}

func TestData(t *testing.T) {
	t.Parallel()
	for tmpl, want := range map[string]string{
		`{{json .access_token}}`:           `"bot\"<tok>"`,
		`{{.user.access_token}}`:           `user-tok`,
		`{{.user.id}} {{.team.id}}`:        `U1 T1`,
		`{{.expires_at.Unix}}`:             `1900000000`,
		`{{.expires_at.UnixMilli}}`:        `1900000000000`,
		`{{json .scopes}}`:                 `["a","b"]`,
		`{{.values.BRAVE_API_KEY}}`:        `brave`,
		`{{.parameters.shop}}`:             `s`,
		`{{.broker.client_id}}`:            brokerClient,
		`{{json .broker.token_url}}`:       `"http://127.0.0.1:1/token"`,
		`{{.refresh_token}}`:               `map has no entry for key "refresh_token"`,
		`{{.team.name}}`:                   `map has no entry for key "name"`,
		`{{.user.expires_in}}`:             `map has no entry for key "expires_in"`,
		`{{if .parameters.region}}{{end}}`: `map has no entry for key "region"`,
	} {
		r := &run{claim: task.Claim{Recipe: task.Recipe{
			Parameters: map[string]string{"shop": "s"}, Files: map[string]task.File{"f": {Template: tmpl}},
		}}, broker: &broker{url: "http://127.0.0.1:1"}}
		var err error
		if r.home, err = newHome(t.TempDir(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.writeFiles(richAccess()); err != nil {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "tok>") {
				t.Errorf("%s: %v", tmpl, err)
			}
			continue
		}
		if got, _ := os.ReadFile(r.home.path(".lanyard/f")); string(got) != want {
			t.Errorf("%s: %s", tmpl, got)
		}
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	r := &run{home: &home{dir: "/h"}, claim: task.Claim{Recipe: task.Recipe{Files: map[string]task.File{"a": {}, "b": {Path: ".x/y"}}}}}
	for field, want := range map[string]string{
		"access_token": `bot"<tok>`, "user.access_token": "user-tok", "expires_at": "1900000000", "user.expires_at": "",
		"team.id": "T1", "user.id": "U1", "value.BRAVE_API_KEY": "brave", "credential_files.a": "/h/.lanyard/a", "credential_files.b": "/h/.x/y",
	} {
		if got, err := r.field(richAccess(), field); got != want || err != nil {
			t.Errorf("%s: %q %v", field, got, err)
		}
	}
	for _, field := range []string{"refresh_token", "app.access_token", "value.OTHER", "credential_files.c", "team", ""} {
		if got, err := r.field(richAccess(), field); err == nil {
			t.Errorf("%s: %q", field, got)
		}
	}
}

// A server that owns its HOME cannot lead the runner's writes out of it.
func TestHomeIsNotLeft(t *testing.T) {
	t.Parallel()
	h, err := newHome(t.TempDir(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(h.dir, "trap")); err != nil {
		t.Fatal(err)
	}
	if err := h.write("trap/x", []byte("secret")); err == nil {
		t.Error("wrote through a link that leaves HOME")
	}
	target := filepath.Join(outside, "target")
	if err := os.Symlink(target, filepath.Join(h.dir, "file")); err != nil {
		t.Fatal(err)
	}
	if err := h.write("file", []byte("secret")); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside: %v", entries)
	}
	entries, _ := os.ReadDir(h.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".lanyard-") {
			t.Errorf("a temporary file is left: %s", e.Name())
		}
	}
	h.remove()
	if _, err := os.Stat(h.base); !os.IsNotExist(err) {
		t.Error("the directory is still there")
	}
}
