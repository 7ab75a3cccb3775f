package presets

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// RegistrySchema is the schema of server.json that is read and written
// (https://github.com/modelcontextprotocol/registry, docs/reference/server-json).
const RegistrySchema = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

// mappingKey is ours below the publisher-provided key of _meta, the only one that
// the MCP Registry keeps.
const mappingKey = "io.github.lanyardhq.lanyard/credentials"

// maxRecordDescription is the schema's bound, in characters.
const maxRecordDescription = 100

// ErrRecord is wrapped when a record of the MCP Registry cannot become a preset.
var ErrRecord = errors.New("the record cannot be imported")

// Record is what matters here of a server.json.
type Record struct {
	Schema      string          `json:"$schema"`
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description"`
	Version     string          `json:"version"`
	Packages    []RecordPackage `json:"packages,omitempty"`
	Remotes     []RecordRemote  `json:"remotes,omitempty"`
	Meta        *recordMeta     `json:"_meta,omitempty"`
}

// RecordPackage is one way to install the server.
type RecordPackage struct {
	RegistryType string           `json:"registryType"`
	Identifier   string           `json:"identifier"`
	Version      string           `json:"version"`
	Transport    recordTransport  `json:"transport"`
	Arguments    []recordArgument `json:"packageArguments,omitempty"`
	Environment  []RecordVariable `json:"environmentVariables,omitempty"`
}

type recordTransport struct {
	Type string `json:"type"`
}

type recordArgument struct {
	Type  string `json:"type"`
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// RecordRemote is one place where the server runs already.
type RecordRemote struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// RecordVariable is one environment variable that the server reads.
type RecordVariable struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	IsRequired  bool   `json:"isRequired,omitempty"`
	IsSecret    bool   `json:"isSecret,omitempty"`
	Default     string `json:"default,omitempty"`
	Value       string `json:"value,omitempty"`
}

type recordMeta struct {
	Published map[string]json.RawMessage `json:"io.modelcontextprotocol.registry/publisher-provided,omitempty"`
}

// ReadRecord reads a server.json. The registry's API wraps it in "server".
func ReadRecord(data []byte) (Record, error) {
	var wrapped struct {
		Server *Record `json:"server"`
		Record
	}
	if err := json.Unmarshal(data, &wrapped); err != nil {
		return Record{}, fmt.Errorf("%w: it is no server.json: %w", ErrRecord, err)
	}
	r := wrapped.Record
	if wrapped.Server != nil {
		r = *wrapped.Server
	}
	switch {
	case r.Schema != RegistrySchema:
		return r, fmt.Errorf("%w: its schema is %q, and only %s is read", ErrRecord, r.Schema, RegistrySchema)
	case r.Name == "" || r.Description == "" || r.Version == "":
		return r, fmt.Errorf("%w: name, description or version is missing", ErrRecord)
	}
	return r, nil
}

// Draft is the preset of the record's server, and the variables that somebody has
// to say the meaning of: none if the record has a mapping of ours.
func (r Record) Draft() (Draft, []RecordVariable, error) {
	var d Draft
	var ask []RecordVariable
	pkg, ok := r.stdioPackage()
	switch remote := r.remote(); {
	case ok:
		d.Server = DraftProgram{Registry: pkg.RegistryType, Package: pkg.Identifier, Version: pkg.Version}
		for _, a := range pkg.Arguments {
			for _, part := range []string{a.Name, a.Value} {
				if part != "" {
					d.Server.Args = append(d.Server.Args, part)
				}
			}
		}
		ask = pkg.Environment
	case remote != "":
		d.Server = DraftProgram{Registry: RegistryRemote, URL: remote}
	default:
		return d, nil, fmt.Errorf("%w: it has no npm or PyPI package that speaks stdio, and no streamable-http address", ErrRecord)
	}
	d.Name = NameFor(r.Name)
	d.DisplayName, d.Description = r.Title, r.Description
	if d.DisplayName == "" {
		d.DisplayName = Titled(d.Name)
	}
	if raw, ok := r.mapping(); ok {
		if err := json.Unmarshal(raw, &d); err != nil {
			return d, nil, fmt.Errorf("%w: its %s: %w", ErrRecord, mappingKey, err)
		}
		return d, nil, nil
	}
	// What has a fixed value means nothing to anybody.
	var open []RecordVariable
	for _, v := range ask {
		switch {
		case v.Value != "" && !strings.Contains(v.Value, "{"):
			if d.Env == nil {
				d.Env = map[string]string{}
			}
			d.Env[v.Name] = v.Value
		case v.IsSecret || v.IsRequired:
			open = append(open, v)
		}
	}
	return d, open, nil
}

func (r Record) stdioPackage() (RecordPackage, bool) {
	for _, p := range r.Packages {
		if _, ok := lockFiles[p.RegistryType]; ok && (p.Transport.Type == "stdio" || p.Transport.Type == "") {
			return p, true
		}
	}
	return RecordPackage{}, false
}

func (r Record) remote() string {
	for _, at := range r.Remotes {
		if at.Type == "streamable-http" {
			return at.URL
		}
	}
	return ""
}

func (r Record) mapping() (json.RawMessage, bool) {
	if r.Meta == nil {
		return nil, false
	}
	raw, ok := r.Meta.Published[mappingKey]
	return raw, ok
}

// Record is the server's record under a name of the registry's, with the mapping
// that [Record.Draft] reads.
func (s Server) Record(name string) (Record, error) {
	d := s.draft()
	mapping, err := json.Marshal(d)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		Schema: RegistrySchema, Name: name, Title: s.DisplayName, Description: shortened(s.Description), Version: s.Server.Version,
		Meta: &recordMeta{Published: map[string]json.RawMessage{mappingKey: mapping}},
	}
	switch {
	case s.Server.Packaged():
		p := RecordPackage{RegistryType: s.Server.Registry, Identifier: s.Server.Package, Version: s.Server.Version, Transport: recordTransport{"stdio"}}
		for _, arg := range s.Server.Args {
			p.Arguments = append(p.Arguments, recordArgument{Type: "positional", Value: arg})
		}
		p.Environment = s.recordVariables()
		r.Packages = []RecordPackage{p}
	case s.Server.Registry == RegistryRemote:
		r.Remotes = []RecordRemote{{"streamable-http", s.Server.URL}}
		r.Version = "1.0.0"
	default:
		return r, fmt.Errorf("%w: the server of %q is a program of this machine", ErrRecord, s.Name)
	}
	return r, nil
}

// recordVariables are for clients that know no mapping: what a person would paste.
func (s Server) recordVariables() []RecordVariable {
	var out []RecordVariable
	for _, v := range s.EnvValues {
		out = append(out, RecordVariable{Name: v.Name, Description: v.Label, IsRequired: true, IsSecret: v.Secret})
	}
	for _, field := range slices.Sorted(maps.Keys(s.OAuthToEnvMapping)) {
		name := s.OAuthToEnvMapping[field]
		secret := field == "access_token" || strings.HasSuffix(field, ".access_token")
		out = append(out, RecordVariable{Name: name, Description: field, IsRequired: true, IsSecret: secret})
	}
	return out
}

func shortened(text string) string {
	if utf8.RuneCountInString(text) <= maxRecordDescription {
		return text
	}
	return strings.TrimSpace(string([]rune(text)[:maxRecordDescription-1])) + "…"
}
