// Package demo is a provider and an MCP server that need no account anywhere,
// so that a first connection takes a minute and everything stays on one
// machine.
//
// [Provider] is an OAuth 2.1 authorization server with a notes API behind it,
// served on an origin of its own:
//
//	GET  /authorize    checks the request, shows the consent page
//	POST /authorize    the person's decision: a code, or access_denied
//	POST /token        code → tokens; refresh token → its successor
//	GET, PUT, DELETE /drill                                rehearses failures
//	POST /revoke       ends the grant of either kind of token (RFC 7009)
//	POST /introspect   what a token is worth (RFC 7662)
//	GET  /userinfo     {sub, name, email}                  scope profile
//	GET  /notes        the account's notes                 scope notes.read
//	POST /notes        {text}                              scope notes.write
//	DELETE /notes/{id}                                     scope notes.write
//	GET  /.well-known/oauth-authorization-server           (RFC 8414)
//
// It is as strict as a provider can be: redirect URIs match exactly, PKCE with
// S256 is required, a code is good for one try, refresh tokens rotate, and a
// code or refresh token that comes back ends everything it led to. It has no
// passwords, so it refuses to be served over plain http anywhere but loopback.
//
// It can be told to fail on purpose ([Drill]), so that operators see what becomes
// of connections when a provider does: with the secret of its client, since
// whoever may do that could also use up the client's tokens.
//
// Each change of the state is one step (store.change), which is on disk before
// the answer that tells of it: what a client was told survives a crash. The
// other way round it may not: a client that loses the answer to a rotation
// holds a spent token, as with any provider that rotates.
//
// [ServeStdio] is the MCP server: it speaks to the notes API with nothing but
// an access token, read anew for each call when it is kept in a file.
package demo
