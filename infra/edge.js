// Runs in CloudFront for every request, before it goes to the API. A viewer
// cannot set what is set or removed here. The form of a tenant is that of
// flow.ValidTenant.
var scopes = {};
var endpoint = /^(?:\/t\/[a-z0-9][a-z0-9-]{0,39})?\/mcp(?:\/([a-z0-9-]+))?$/;

// What an MCP client is told that comes to an endpoint without a good token (RFC
// 9728, section 5.1): where the endpoint says who gives tokens for it, and which
// scopes it wants.
function challenge(request, server) {
  var text = 'Bearer resource_metadata="https://' + request.headers.host.value + '/.well-known/oauth-protected-resource' + request.uri + '"';
  // RFC 6750, section 3.1: the error only where a token was presented.
  if (request.headers.authorization) text += ', error="invalid_token"';
  if (Object.hasOwn(scopes, server)) text += ', scope="' + scopes[server] + '"';
  return text;
}

function handler(event) {
  var request = event.request;
  delete request.headers['x-lanyard-challenge'];
  var at = endpoint.exec(request.uri);
  if (at) request.headers['x-lanyard-challenge'] = { value: challenge(request, at[1]) };
  request.headers['x-lanyard-viewer'] = { value: event.viewer.ip };
  return request;
}
