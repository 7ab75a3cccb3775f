// Runs in CloudFront for every request, before it goes to the API. A viewer
// cannot set what is set or removed here.
function handler(event) {
  var request = event.request;
  delete request.headers['x-lanyard-challenge'];
  if (request.uri.indexOf('/mcp/') === 0) {
    // RFC 6750, section 3.1: the error only where a token was presented.
    var presented = request.headers['authorization'];
    request.headers['x-lanyard-challenge'] = {
      value: 'Bearer realm="lanyard"' + (presented ? ', error="invalid_token"' : ''),
    };
  }
  request.headers['x-lanyard-viewer'] = { value: event.viewer.ip };
  return request;
}
