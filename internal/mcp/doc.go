// Package mcp is what MCP's messages and its two eras mean to whoever passes
// them on: the envelope of a message, found and rewritten without a copy; what
// a request says of its client in either era; and the lists that a server gives
// of itself, which can be answered while it does not run.
//
// The legacy era (revisions 2025-03-26 to 2025-11-25) has sessions, which begin
// with initialize. The modern one (2026-07-28) has none: each request names its
// revision and its client's capabilities itself, in _meta.
package mcp
