package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Catalogue is what a server says of itself: what is asked before its first
// real use, and the same for every client of a connection. A list is the raw
// array of all its pages; nil: it is not known.
type Catalogue struct {
	// Initialized is its result of initialize, raw; nil: it does not know
	// initialize, or was not asked.
	Initialized json.RawMessage `json:"initialized,omitempty"`
	// Discovered is its result of server/discover, raw; nil: it does not know the
	// modern era, or was not asked.
	Discovered json.RawMessage `json:"discovered,omitempty"`
	Tools      json.RawMessage `json:"tools,omitempty"`
	Prompts    json.RawMessage `json:"prompts,omitempty"`
	Resources  json.RawMessage `json:"resources,omitempty"`
	Templates  json.RawMessage `json:"templates,omitempty"`
}

// ListTTL is for how long, in milliseconds, a modern client may keep a list. A
// minute: what a server offers may change with what its person was granted.
const ListTTL = 60_000

var listTTL = strconv.Itoa(ListTTL)

// List is the list that a method asks for and the name that it has in results;
// nil if it is not known, and no name if the method asks for none.
func (c Catalogue) List(method string) (list json.RawMessage, name string) {
	switch method {
	case "tools/list":
		return c.Tools, "tools"
	case "prompts/list":
		return c.Prompts, "prompts"
	case "resources/list":
		return c.Resources, "resources"
	case "resources/templates/list":
		return c.Templates, "resourceTemplates"
	}
	return nil, ""
}

// Answer is the result for a request that the catalogue can answer; nil if it
// cannot. The version is that of [Message.Version].
func (c Catalogue) Answer(m Message, version string) []byte {
	if !c.Known() {
		return nil
	}
	switch m.Method {
	case "initialize":
		if len(c.Initialized) == 0 {
			return nil
		}
		var p struct {
			ProtocolVersion string `json:"protocolVersion"`
		}
		if version != "" || !m.Params.Present() || json.Unmarshal(m.Bytes(m.Params), &p) != nil || p.ProtocolVersion == "" {
			return nil
		}
		return InVersion(c.Initialized, p.ProtocolVersion)
	case "server/discover":
		if version == "" {
			return nil
		}
		return c.Discover()
	}
	list, name := c.List(m.Method)
	if cursor, err := Lookup(m.Raw, m.Params, "cursor"); list == nil || err != nil || cursor.Present() {
		return nil // a later page of the server's own
	}
	out := make([]byte, 0, len(list)+100) // lists are long, and copied once
	if version == "" {
		return fmt.Appendf(out, `{%q:%s}`, name, list)
	}
	return fmt.Appendf(out, `{"resultType":"complete",%q:%s,"ttlMs":%d,"cacheScope":"private"}`, name, list, ListTTL)
}

// MaxCatalogue bounds a catalogue, in bytes.
const MaxCatalogue = 9 << 20

// Tidy is the catalogue on one line, or an error if it is none. It is a server's
// word, and may be anything.
func (c Catalogue) Tidy() (Catalogue, error) {
	size := 0
	for _, part := range []struct {
		raw   *json.RawMessage
		begin byte
	}{{&c.Initialized, '{'}, {&c.Discovered, '{'}, {&c.Tools, '['}, {&c.Prompts, '['}, {&c.Resources, '['}, {&c.Templates, '['}} {
		if len(*part.raw) == 0 || string(*part.raw) == "null" {
			*part.raw = nil
			continue
		}
		var line bytes.Buffer
		if err := json.Compact(&line, *part.raw); err != nil || line.Bytes()[0] != part.begin {
			return c, errors.New("it is not what MCP lists look like")
		}
		*part.raw = line.Bytes()
		size += line.Len()
	}
	switch {
	case size > MaxCatalogue:
		return c, fmt.Errorf("it is larger than %d bytes", MaxCatalogue)
	case !c.Known():
		return c, errors.New("it does not say what the server is")
	}
	return c, nil
}

// Known reports whether anything is known of the server.
func (c Catalogue) Known() bool { return len(c.Initialized) > 0 || len(c.Discovered) > 0 }

// Capabilities are what the server declares, by name; nil if that is not known.
func (c Catalogue) Capabilities() map[string]json.RawMessage {
	said := c.Initialized
	if len(said) == 0 {
		said = c.Discovered
	}
	var in struct {
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	if json.Unmarshal(said, &in) != nil {
		return nil
	}
	return in.Capabilities
}

// Lacks reports whether the server declares nothing of the kind that a list's
// method asks for.
func (c Catalogue) Lacks(method string) bool {
	_, name := c.List(method)
	declared := c.Capabilities()
	kind, _, _ := strings.Cut(method, "/")
	return name != "" && declared != nil && declared[kind] == nil
}

// Discover is the server's result of server/discover, or one that says in the
// modern era what it said at initialize; nil if that cannot be read.
func (c Catalogue) Discover() []byte {
	if len(c.Discovered) > 0 {
		return c.Discovered
	}
	var in struct {
		Capabilities json.RawMessage `json:"capabilities"`
		ServerInfo   json.RawMessage `json:"serverInfo"`
		Instructions string          `json:"instructions"`
	}
	if json.Unmarshal(c.Initialized, &in) != nil {
		return nil
	}
	out := map[string]any{
		"resultType": "complete", "ttlMs": ListTTL, "cacheScope": "private",
		"supportedVersions": Supported(), "capabilities": json.RawMessage(`{}`),
	}
	if len(in.Capabilities) > 0 {
		out["capabilities"] = in.Capabilities
	}
	if in.Instructions != "" {
		out["instructions"] = in.Instructions
	}
	if len(in.ServerInfo) > 0 {
		out["_meta"] = map[string]json.RawMessage{MetaServer: in.ServerInfo}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return b
}
