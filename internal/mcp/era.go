package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Modern is the revision of the era without sessions.
const Modern = "2026-07-28"

// Legacy are the revisions with sessions that are spoken here, newest first.
var Legacy = []string{"2025-11-25", "2025-06-18", "2025-03-26"}

// firstRevision had another transport. A server that speaks no later one is
// answered for in it, and its clients name it from then on.
const firstRevision = "2024-11-05"

// The members of a modern request's _meta (MCP 2026-07-28, basic, _meta).
const (
	MetaVersion      = "io.modelcontextprotocol/protocolVersion"
	MetaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaClient       = "io.modelcontextprotocol/clientInfo"
	MetaServer       = "io.modelcontextprotocol/serverInfo"
	MetaLevel        = "io.modelcontextprotocol/logLevel"
	MetaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// Headers of the transport.
const (
	VersionHeader = "Mcp-Protocol-Version"
	MethodHeader  = "Mcp-Method"
	NameHeader    = "Mcp-Name"
	SessionHeader = "Mcp-Session-Id"
)

// Error codes of MCP 2026-07-28 (basic, error codes).
const (
	CodeHeaderMismatch     = -32020
	CodeMissingCapability  = -32021
	CodeUnsupportedVersion = -32022
)

// Refusal is why a request is refused, as the transport tells it.
type Refusal struct {
	// Status is of HTTP, Code of JSON-RPC.
	Status, Code int
	Text         string
	// Data is that of the error; nil: none.
	Data any
}

func (r *Refusal) Error() string { return r.Text }

// Answer is the refusal as a response to the request with this raw id.
func (r *Refusal) Answer(id []byte) []byte { return failure(id, r.Code, r.Text, r.Data) }

// Version is the revision that a request names in its _meta. Empty: it names
// none, and is of the legacy era.
func (m Message) Version() (string, error) {
	meta, err := Lookup(m.Raw, m.Params, "_meta")
	if err != nil {
		return "", err
	}
	return m.VersionIn(meta)
}

// VersionIn is [Message.Version] for whoever has found _meta already.
func (m Message) VersionIn(meta Span) (string, error) {
	at, err := Lookup(m.Raw, meta, MetaVersion)
	if err != nil || !at.Present() {
		return "", err
	}
	var version string
	if json.Unmarshal(m.Bytes(at), &version) != nil || version == "" {
		return "", fmt.Errorf("%s must be a string", MetaVersion)
	}
	return version, nil
}

// Check holds what the headers of a request with this revision say against what
// its message says, as whoever reads both must (MCP 2026-07-28, Streamable
// HTTP, server validation). Legacy requests have nothing to hold against each
// other.
func Check(h http.Header, m Message, version string) *Refusal {
	named := h.Get(VersionHeader)
	if version == "" && !IsModern(named) {
		return nil
	}
	if version == "" && m.Request() {
		return &Refusal{http.StatusBadRequest, CodeParams, "the message's _meta must hold the string " + MetaVersion, nil}
	}
	if version != named {
		return mismatch("the %s header says %.128q, the message's _meta %.128q", VersionHeader, named, version)
	}
	if version != Modern {
		return &Refusal{http.StatusBadRequest, CodeUnsupportedVersion, "the protocol version " + version + " is not supported",
			map[string]any{"supported": Supported(), "requested": version}}
	}
	if !m.Request() {
		return nil // the revision names no headers for notifications
	}
	if got := h.Get(MethodHeader); got != m.Method {
		return mismatch("the %s header says %.128q, the message %.128q", MethodHeader, got, m.Method)
	}
	field := map[string]string{"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}[m.Method]
	if field != "" {
		at, err := Lookup(m.Raw, m.Params, field)
		var want string
		if err == nil && at.Present() {
			err = json.Unmarshal(m.Bytes(at), &want)
		}
		if got, ok := DecodeHeader(h.Get(NameHeader)); err != nil || !ok || got != want {
			return mismatch("the %s header says %.128q, the message %.128q", NameHeader, got, want)
		}
	}
	at, err := Lookup(m.Raw, m.Params, "_meta", MetaCapabilities)
	if err != nil || !at.Present() || m.Raw[at.Start] != '{' {
		return &Refusal{http.StatusBadRequest, CodeParams, "the message's _meta must hold the object " + MetaCapabilities, nil}
	}
	return nil
}

// IsModern reports whether a revision is later than all that have sessions.
func IsModern(version string) bool { return version > Legacy[0] }

// IsLegacy reports whether a request with a session may name this revision in its
// header. None is one that was made before there was the header.
func IsLegacy(version string) bool {
	return version == "" || version == firstRevision || slices.Contains(Legacy, version)
}

// Supported are all revisions, newest first.
func Supported() []string { return append([]string{Modern}, Legacy...) }

func mismatch(format string, args ...any) *Refusal {
	return &Refusal{http.StatusBadRequest, CodeHeaderMismatch, "Header mismatch: " + fmt.Sprintf(format, args...), nil}
}

// DecodeHeader is the value that a mirrored header carries, plain or as
// =?base64?…?=; false if it is neither.
func DecodeHeader(s string) (string, bool) {
	coded, ok := strings.CutPrefix(s, "=?base64?")
	if ok {
		coded, ok = strings.CutSuffix(coded, "?=")
	}
	if !ok {
		plain := !strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') })
		return s, plain
	}
	raw, err := base64.StdEncoding.DecodeString(coded)
	return string(raw), err == nil
}

// InVersion is an initialize result for a client that asks for a revision: a
// server that speaks a later one is taken to speak that, too, since each adds to
// those before.
func InVersion(result []byte, version string) []byte {
	at, err := Lookup(result, Span{0, len(result)}, "protocolVersion")
	if err != nil || !at.Present() {
		return result
	}
	var spoken string
	if json.Unmarshal(result[at.Start:at.End], &spoken) != nil {
		return result
	}
	asked, is := slices.Index(Legacy, version), slices.Index(Legacy, spoken)
	if asked < 0 || is < 0 || asked <= is {
		return result
	}
	return slices.Concat(result[:at.Start], []byte(`"`+version+`"`), result[at.End:])
}

// EncodeHeader is how a mirrored header carries a value; see [DecodeHeader].
func EncodeHeader(s string) string {
	plain, ok := DecodeHeader(s)
	if ok && plain == s && strings.TrimSpace(s) == s {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// Past reports whether a method is one that the modern era has no more.
func Past(method string) bool {
	switch method {
	case "initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return true
	}
	return false
}
