package mcp

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// meta is the _meta of a modern request.
const meta = `"_meta":{"` + MetaVersion + `":"2026-07-28","` + MetaCapabilities + `":{}}`

func TestCheck(t *testing.T) {
	t.Parallel()
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"grüß",` + meta + `}}`
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta + `}}`
	for name, tc := range map[string]struct {
		header http.Header
		body   string
		want   int
	}{
		"legacy":                {header(), `{"id":1,"method":"tools/list"}`, 0},
		"legacy with header":    {header(VersionHeader, "2025-11-25"), `{"id":1,"method":"tools/list"}`, 0},
		"modern":                {header(VersionHeader, Modern, MethodHeader, "tools/list"), list, 0},
		"header alone":          {header(VersionHeader, Modern), `{"id":1,"method":"tools/list"}`, CodeParams},
		"message alone":         {header(), list, CodeHeaderMismatch},
		"other version":         {header(VersionHeader, "2025-11-25", MethodHeader, "tools/list"), list, CodeHeaderMismatch},
		"unknown version":       {header(VersionHeader, "1900-01-01", MethodHeader, "tools/list"), strings.Replace(list, Modern, "1900-01-01", 1), CodeUnsupportedVersion},
		"a later one":           {header(VersionHeader, "2027-01-01", MethodHeader, "tools/list"), strings.Replace(list, Modern, "2027-01-01", 1), CodeUnsupportedVersion},
		"no method":             {header(VersionHeader, Modern), list, CodeHeaderMismatch},
		"other method":          {header(VersionHeader, Modern, MethodHeader, "tools/call"), list, CodeHeaderMismatch},
		"name":                  {header(VersionHeader, Modern, MethodHeader, "tools/call", NameHeader, "=?base64?Z3LDvMOf?="), call, 0},
		"name in another case":  {header(VersionHeader, Modern, MethodHeader, "tools/call", NameHeader, "=?BASE64?Z3LDvMOf?="), call, CodeHeaderMismatch},
		"name that is no ASCII": {header(VersionHeader, Modern, MethodHeader, "tools/call", NameHeader, "grüß"), call, CodeHeaderMismatch},
		"no name":               {header(VersionHeader, Modern, MethodHeader, "tools/call"), call, CodeHeaderMismatch},
		"no capabilities":       {header(VersionHeader, Modern, MethodHeader, "tools/list"), `{"id":1,"method":"tools/list","params":{"_meta":{"` + MetaVersion + `":"2026-07-28"}}}`, CodeParams},
		"notification":          {header(VersionHeader, Modern), `{"method":"notifications/cancelled","params":{` + meta + `}}`, 0},
	} {
		m, err := Parse([]byte(tc.body))
		if err != nil {
			t.Fatal(name, err)
		}
		version, err := m.Version()
		if err != nil {
			t.Fatal(name, err)
		}
		got, status := 0, http.StatusBadRequest
		if r := Check(tc.header, m, version); r != nil {
			got, status = r.Code, r.Status
			if !json.Valid(r.Answer(m.Bytes(m.ID))) {
				t.Errorf("%s: %s is no JSON", name, r.Answer(m.Bytes(m.ID)))
			}
		}
		if got != tc.want || status != http.StatusBadRequest {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	c := Catalogue{
		Initialized: json.RawMessage(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"Be kind."}`),
		Tools:       json.RawMessage(`[{"name":"a"}]`),
	}
	for request, want := range map[string]string{
		`{"id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{}}}`: `{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"Be kind."}`,
		`{"id":1,"method":"initialize","params":{"protocolVersion":"2099-01-01","capabilities":{}}}`: string(c.Initialized),
		`{"id":1,"method":"tools/list"}`:                            `{"tools":[{"name":"a"}]}`,
		`{"id":1,"method":"tools/list","params":{"cursor":"next"}}`: ``,
		`{"id":1,"method":"tools/list","params":{` + meta + `}}`:    `{"resultType":"complete","tools":[{"name":"a"}],"ttlMs":60000,"cacheScope":"private"}`,
		`{"id":1,"method":"prompts/list"}`:                          ``,
		`{"id":1,"method":"tools/call","params":{"name":"a"}}`:      ``,
		`{"id":1,"method":"server/discover"}`:                       ``,
		`{"id":1,"method":"server/discover","params":{` + meta + `}}`: `{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}},"cacheScope":"private","capabilities":{"tools":{}},` +
			`"instructions":"Be kind.","resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"ttlMs":60000}`,
	} {
		m, err := Parse([]byte(request))
		if err != nil {
			t.Fatal(request, err)
		}
		version, err := m.Version()
		if err != nil {
			t.Fatal(request, err)
		}
		if got := string(c.Answer(m, version)); got != want {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
	modern := Catalogue{Discovered: json.RawMessage(`{"resultType":"complete","supportedVersions":["2026-07-28"]}`), Tools: c.Tools}
	for request, want := range map[string]string{
		`{"id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{}}}`: ``,
		`{"id":1,"method":"server/discover","params":{` + meta + `}}`:                                string(modern.Discovered),
		`{"id":1,"method":"tools/list"}`:                                                             `{"tools":[{"name":"a"}]}`,
	} {
		m, _ := Parse([]byte(request))
		version, _ := m.Version()
		if got := string(modern.Answer(m, version)); got != want {
			t.Errorf("of a modern server: %s: got %s, want %s", request, got, want)
		}
	}
	m, _ := Parse([]byte(`{"id":1,"method":"tools/list"}`))
	if got := (Catalogue{Tools: c.Tools}).Answer(m, ""); got != nil {
		t.Errorf("an empty catalogue answered %s", got)
	}
}
