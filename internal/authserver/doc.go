// Package authserver is the authorization server of our own MCP endpoints: it
// lets a person give an MCP client access to one of their connections, and
// gives the client a token of ours for exactly that (OAuth 2.1; MCP,
// Authorization).
//
// An authorization is a state machine over a [Request], and what comes of it
// is a [Grant]:
//
//	step                          who may                     then
//	GET  /oauth/authorize         anybody                     client and redirect URI checked; Request: asked, bound to the browser
//	GET  /oauth/requests/{id}     that browser                sign-in if there is no session; our consent page; nothing changes
//	POST /oauth/requests/{id}     that browser, signed in     Request: allowed (a flow to the provider is begun only now), or denied
//	GET  /oauth/requests/{id}     that browser, same person   once there is a connection: Grant with a code; Request: answered
//	POST /oauth/token             the client: code, verifier  code taken once; access and refresh token
//	POST /oauth/token             the client: refresh token   rotated; one that was spent before ends the grant
//	POST /mcp/{server}            the access token            package host asks [Server.Check]
//
// Tokens are opaque: the grant's id and 256 random bits, of which the grant
// keeps the hash. Whatever ends the grant therefore ends them at once, and a
// bearer costs one read.
package authserver
