package presets_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

// overlay writes files into a directory that can be laid over the presets.
func overlay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const notes = `name: notes
display_name: Notes
description: Keeps notes.
auth_type: none
server:
  registry: command
  command: [notes-server]
`

// TestDecodeIsStrict: everything that YAML can get wrong is found, in the file
// and line where it stands.
func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []string // line: message
	}{
		"fine":                       {notes, nil},
		"unknown key":                {notes + "colour: red\n", []string{`8: unknown field "colour"`}},
		"unknown nested key":         {notes + "parameters:\n  shop:\n    label: Shop\n    pattern: ^a$\n    ask: true\n", []string{`12: unknown field "ask"`}},
		"unknown key in flow":        {strings.Replace(notes, "command: [notes-server]", "command: [notes-server]\n  resources: {cpu: 1, mem: 2048, memory: 2048}", 1), []string{`8: unknown field "mem"`}},
		"unknown key in scope":       {notes + "oauth_scopes:\n  - read\n  - {scope: write, y: because}\n", []string{`10: unknown field "y"`, `8: means nothing`}},
		"unknown key in file":        {notes + "credential_files:\n  a: {path: x, text: y, template: z}\n", []string{`9: unknown field "text"`}},
		"all unknown keys":           {"colour: red\n" + notes + "size: 3\nparameters: {a: {label: A, pattern: ^a$, b: 1}}\n", []string{`1: unknown field "colour"`, `9: unknown field "size"`, `10: unknown field "b"`}},
		"internal field is no key":   {notes + "lock: {}\n", []string{`8: unknown field "lock"`}},
		"unknown key and rule":       {strings.Replace(notes, "description", "descripton", 1), []string{`3: unknown field "descripton"`, `1: description is missing`}},
		"list for a string":          {strings.Replace(notes, "Notes", "[a, b]", 1), []string{`2: does not fit here: text is wanted`}},
		"string for a number":        {notes + "  resources: {cpu: much, memory: 512}\n", []string{`8: does not fit here: a number is wanted`}},
		"map for a list":             {notes + "tools: {a: b}\n", []string{`8: `}},
		"text for true or false":     {notes + "share_refresh_token: perhaps\n", []string{`8: does not fit here: true or false`}},
		"list for the type":          {strings.Replace(notes, "auth_type: none", "auth_type: [none]", 1), []string{`4: does not fit here: text`}},
		"numbers that stay":          {notes + "env: {A: 1, B: true, C: -2.5, D: \"1.50\"}\n", nil},
		"numbers that change":        {notes + "env:\n  A: 1.50\n  B: 0x10\n  C: ~\n  D:\n", []string{`9: YAML reads 1.50 as "1.5": quote it`, `10: YAML reads 0x10`, `11: YAML reads ~ as ""`, `12: YAML reads`}},
		"duplicate key":              {notes + "name: other\n", []string{`8: mapping key "name" already defined`}},
		"two documents":              {notes + "---\n" + notes, []string{`9: a second document`}},
		"trailing document marker":   {"---\n" + notes, nil},
		"empty":                      {"", []string{`1: the file is empty`}},
		"only a comment":             {"# nothing\n", []string{`1: the file is empty`}},
		"a list":                     {"- name: notes\n", []string{`1: sequence was used where mapping is expected`}},
		"tab":                        {"name: notes\n\tauth_type: none\n", []string{`2: found character`}},
		"unclosed":                   {"name: notes\ntools: [a, b\n", []string{`2: sequence end token`}},
		"other name than the file's": {strings.Replace(notes, "name: notes", "name: note", 1), []string{`1: name must be "notes"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := overlay(t, map[string]string{"servers/notes.yaml": test.text})
			expect(t, presets.Lint([]string{dir}), filepath.Join(dir, "servers", "notes.yaml"), test.want)
			_, err := presets.Load([]string{dir})
			if errors.Is(err, presets.ErrInvalid) != (len(test.want) > 0) {
				t.Errorf("Load: %v", err)
			}
			for _, want := range test.want {
				if err != nil && !strings.Contains(err.Error(), "notes.yaml:"+want) {
					t.Errorf("Load does not say %q: %v", want, err)
				}
			}
		})
	}
}

// expect wants exactly one finding in file for each "line: start of message".
func expect(t *testing.T, findings []presets.Finding, file string, want []string) {
	t.Helper()
	left := slices.Clone(want)
	for _, f := range findings {
		i := slices.IndexFunc(left, func(w string) bool { return strings.HasPrefix(f.String(), file+":"+w) })
		if i < 0 {
			t.Errorf("not expected: %s", f)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, w := range left {
		t.Errorf("not found: %s\nin %v", w, findings)
	}
}

// TestShippedAreSound: a program that starts relies on it, and judges only what is
// laid over them.
func TestShippedAreSound(t *testing.T) {
	t.Parallel()
	for _, f := range presets.Lint(nil) {
		t.Error(f)
	}
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	first := overlay(t, map[string]string{
		"servers/notes.yaml": notes,
		"servers/demo.yaml":  strings.ReplaceAll(notes, "notes", "demo"),
		"README.md":          "is not looked at",
	})
	second := overlay(t, map[string]string{
		"servers/notes.yaml": strings.Replace(notes, "Keeps notes.", "Keeps more notes.", 1) + "tools: [one]\n",
		"providers/acme.yaml": "id: acme\ndisplay_name: Acme\nverified_at: 2026-11-23\nsources: [https://acme.example/docs]\n" +
			"authorization_endpoint: https://acme.example/a\ntoken_endpoint: https://acme.example/t\n",
	})
	c, err := presets.Load([]string{first, second})
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := c.Server("notes"); !ok || s.Description != "Keeps more notes." || len(s.Tools) != 1 {
		t.Errorf("the last overlay does not win: %+v", s)
	}
	if s, _ := c.Server("demo"); s.OAuthService != "" || len(s.OAuthScopes) > 0 || len(s.Env) > 0 || len(s.Tools) > 0 {
		t.Errorf("an overlay replaces a preset only in part: %+v", s)
	}
	if _, ok := c.Provider("acme"); !ok {
		t.Error("the overlay's provider is not there")
	}
	if _, ok := c.Provider("google"); !ok {
		t.Error("the embedded provider is gone")
	}
	if _, ok := c.Server("nobody"); ok {
		t.Error("there is a server nobody")
	}
	var names []string
	for _, s := range c.Servers() {
		names = append(names, s.Name)
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "notes") || !slices.Contains(names, "slack") {
		t.Errorf("Servers: %v", names)
	}
}

// TestOverlayOrder: servers are judged against the providers of the whole
// stack, whichever layer these come from.
func TestOverlayOrder(t *testing.T) {
	t.Parallel()
	server := `name: acme
display_name: Acme
description: Acme.
auth_type: oauth
oauth_service: acme
oauth_to_env_mapping: {access_token: ACME_TOKEN}
server: {registry: command, command: [acme]}
rotation: restart
`
	servers := overlay(t, map[string]string{"servers/acme.yaml": server})
	providers := overlay(t, map[string]string{"providers/acme.yaml": "id: acme\ndisplay_name: Acme\nverified_at: 2026-11-23\n" +
		"sources: [https://acme.example/docs]\nauthorization_endpoint: https://acme.example/a\ntoken_endpoint: https://acme.example/t\n"})
	if _, err := presets.Load([]string{servers, providers}); err != nil {
		t.Error(err)
	}
	expect(t, presets.Lint([]string{servers}), filepath.Join(servers, "servers", "acme.yaml"),
		[]string{`5: there is no provider "acme": add providers/acme.yaml`})
	// A provider that is taken away by its replacement is missed at the server.
	broken := overlay(t, map[string]string{"providers/google.yaml": "id: google\ndisplay_name: [x]\n"})
	expect(t, presets.Lint([]string{broken}), filepath.Join(broken, "providers", "google.yaml"), []string{`2: does not fit here: text is wanted`})
}

func TestOverlayDirectory(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	missing := filepath.Join(empty, "missing")
	yml := overlay(t, map[string]string{"servers/notes.yml": notes})
	for dir, want := range map[string]string{
		empty:   empty + ":1: there is no directory providers or servers",
		missing: missing + ":1: there is no directory providers or servers",
		yml:     filepath.Join(yml, "servers", "notes.yml") + ":1: is not read: rename it to .yaml",
	} {
		found := presets.Lint([]string{dir})
		if len(found) != 1 || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("got %v, want %s", found, want)
		}
	}
}

func TestProviderFindings(t *testing.T) {
	t.Parallel()
	acme := `id: acme
display_name: Acme
verified_at: 2026-11-23
sources: [https://acme.example/docs]
authorization_endpoint: https://acme.example/a
token_endpoint: https://acme.example/t
`
	tests := map[string]struct {
		text string
		want []string
	}{
		"fine":             {acme, nil},
		"id":               {strings.Replace(acme, "id: acme", "id: acne", 1), []string{`1: id must be "acme"`}},
		"unknown key":      {acme + "scope: {seperator: x}\n", []string{`7: unknown field "seperator"`}},
		"a list for a map": {acme + "scope: [x]\n", []string{`7: `}},
		"pattern": {strings.Replace(acme, "acme.example/t", "{shop}.acme.example/t", 1) + "parameters:\n  shop:\n    label: Shop\n    pattern: \"(\"\n",
			[]string{`10: `}},
		"extends nobody": {acme + "extends: nobody\n", []string{`7: provider acme extends "nobody"`}},
		"its own host":   {"id: acme\nextends: gitlab\nparameters: {host: {default: git.acme.example}}\n", nil},
		"a host of its own": {"id: acme\nextends: slack\nparameters: {host: {default: git.acme.example}}\n",
			[]string{"2: provider acme: $.parameters.host: needs a pattern"}},
		"broken variant": {acme + "variants:\n  fine: {token_endpoint: \"https://acme.example/u\"}\n  broken:\n    token_endpoint: ftp://acme.example\n", []string{`9: `}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := overlay(t, map[string]string{"providers/acme.yaml": test.text})
			expect(t, presets.Lint([]string{dir}), filepath.Join(dir, "providers", "acme.yaml"), test.want)
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	dir := overlay(t, map[string]string{"servers/notes.yaml/x": "", "providers": ""})
	found := presets.Lint([]string{dir})
	if len(found) != 2 || !strings.Contains(found[0].String(), "providers:1: cannot be read") ||
		!strings.Contains(found[1].String(), "notes.yaml:1: cannot be read") {
		t.Errorf("got %v", found)
	}
}

// TestProviderParameter: a server may use what its provider asks the person.
func TestProviderParameter(t *testing.T) {
	t.Parallel()
	server := `name: acme
display_name: Acme
description: Acme.
auth_type: oauth
oauth_service: acme
oauth_to_env_mapping: {access_token: ACME_TOKEN}
env: {ACME_SHOP: "{shop}"}
server: {registry: command, command: [acme]}
rotation: restart
`
	provider := "id: acme\ndisplay_name: Acme\nverified_at: 2026-11-23\nsources: [https://acme.example/docs]\n" +
		"authorization_endpoint: https://acme.example/a\ntoken_endpoint: https://{shop}.acme.example/t\n" +
		"parameters: {shop: {label: Shop, pattern: \"^[a-z]+$\"}}\n"
	dir := overlay(t, map[string]string{"servers/acme.yaml": server, "providers/acme.yaml": provider})
	c, err := presets.Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := c.Server("acme")
	if r, err := s.Recipe("", presets.Inputs{User: map[string]string{"shop": "mine"}}); err != nil || r.Env["ACME_SHOP"] != "mine" {
		t.Errorf("recipe: %v %v", r.Env, err)
	}
}
