// Package discover finds who grants access to a remote MCP server that says so
// itself, and makes us a client there.
//
//	server ──401──► its metadata (RFC 9728) ──► issuer ──► the issuer's metadata
//	                resource, scopes                        (RFC 8414, OpenID Connect)
//	                                                              │
//	   client: an operator's, or our document, or registered ◄────┘
//
// All of it is said by others. So: nothing is fetched but from public addresses by
// https (a server on this machine may name others on it, and nobody else may); no
// redirect is followed; a document has 256 KB and five seconds, the whole half a
// request's time; what a server says of itself must be about its own URL, and what
// an issuer says must begin with the very name that it was found under. No text of
// theirs is shown but the host of a URL and, cleaned, why a registration was
// refused.
//
// A client belongs to the issuer that it was made for. Another issuer, though the
// same server names it, never sees its id.
package discover
