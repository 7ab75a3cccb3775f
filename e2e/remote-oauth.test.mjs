// A server that somebody else runs, with an authorization server of its own that
// nobody has told us of: the server names it, we become its client by ourselves,
// and a person connects it like any other.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startAuthServer } from './fixtures/authserver.mjs';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { connectionId, consent, mcpClient, mint, textOf } from './fixtures/journey.mjs';
import { deployed } from './fixtures/lanyard.mjs';
import { startRemoteServer } from './fixtures/remoteserver.mjs';
import { until } from './fixtures/wait.mjs';

const accessTTL = 16; // seconds; renewed at half of it
const scopes = ['notes:read', 'notes:write'];
let engine, app, own, server, id, endpoint, client;
const resources = {};

const preset = (name, url) => JSON.stringify({
  name, display_name: `Notes ${name}`, description: 'Runs elsewhere, and says who grants access to it.', auth_type: 'oauth', oauth_service: 'discover',
  server: { registry: 'remote', url },
});

before(async () => {
  own = await startAuthServer({ resources, accessTTL });
  server = await startRemoteServer((token) => own.tokenFor(token)?.resource === server.url, {
    issuer: () => own.issuer, scopes, scopesOf: (token) => own.tokenFor(token).scopes,
  });
  resources[server.url] = scopes;
  engine = await startEngine({ servers: {
    far: preset('far', server.url), silent: preset('silent', 'https://169.254.169.254/mcp'),
  } });
  ({ app } = engine);
});

after(async () => {
  await client?.close();
  await engine?.close();
  await server?.close();
  await own?.close();
});

async function begin(page, name) {
  await page.goto(`${app.url}/mcp/servers`);
  await page.getByRole('button', { name: new RegExp(`^Connect (another account )?Notes ${name} at `) }).click();
}

test('a person connects it, with nothing set up beforehand', async () => {
  const { page, context } = await engine.person();
  await begin(page, 'far');
  await page.waitForURL(`${app.url}/c/*`);
  await page.getByText('The server is run by others').waitFor();
  await page.getByText('notes:read').waitFor(); // what the server's challenge asks for
  await consent(page, app);
  assert.equal(new URL(page.url()).origin, own.issuer);
  await signIn(page);
  id = await connectionId(page, app);
  await context.close();
});

test('we have registered ourselves, as a client without a secret', () => {
  assert.equal(own.registered.length, 1);
  const [us] = own.registered;
  assert.equal(us.client_name, 'Lanyard');
  assert.equal(us.token_endpoint_auth_method, 'none');
  assert.match(us.redirect_uris[0], new RegExp(`^${app.redirectUri}/[\\w-]{16}$`)); // this issuer's alone
});

test('its tools answer an MCP client that has our token', async () => {
  endpoint = await mint(app, id);
  client = await mcpClient(endpoint.url, endpoint.token);
  assert.deepEqual((await client.listTools()).tools.map((t) => t.name), ['whoami', 'write']);
  assert.equal(textOf(await client.callTool({ name: 'whoami', arguments: {} })), 'e2e asked');
  for (const { token } of server.calls.filter((c) => c.accepted)) {
    assert.notEqual(token, endpoint.token);
    const of = own.tokenFor(token);
    assert.deepEqual([of.account, of.resource, of.clientId], ['ada', server.url, own.registered[0].client_id]);
  }
});

test('calls go on while the token is renewed where it was granted, and none fails', async (t) => {
  const begun = own.count('refresh_token');
  let calls = 0;
  await until('two renewals', async () => {
    assert.equal(textOf(await client.callTool({ name: 'whoami', arguments: {} })), 'e2e asked');
    calls += 1;
    return own.count('refresh_token') >= begun + 2;
  }, { timeout: 90_000, every: 100 });
  t.diagnostic(`${calls} calls, ${own.count('refresh_token') - begun} renewals`);
  assert.ok(own.requests.every((r) => r.status === 200), 'a request to the token endpoint was refused');
});

test('a tool that wants more says so; more is granted beside what was, to the same connection', async () => {
  const write = () => app.api('POST', `/api/v1/connections/${id}/tools/write`, { body: {} });
  const refused = await write();
  assert.equal(refused.body.error, 'scope_needed');
  assert.match(JSON.stringify(refused.body), /notes:write/);
  const { body } = await app.api('POST', '/api/v1/mcp/servers/far/oauth/connect', { body: { user_id: 'me', connection_id: id, scopes: ['notes:write'] } });
  const { page, context } = await engine.person();
  await page.goto(body.authorization_url);
  await consent(page, app);
  assert.equal(new URL(page.url()).origin, own.issuer);
  await signIn(page);
  await page.waitForURL((url) => url.origin === app.url);
  await page.waitForLoadState();
  await context.close();
  const { status, body: result } = await write();
  assert.deepEqual([status, result.content?.[0].text], [200, 'written']);
  assert.equal(own.registered.length, 1, 'another client was registered');
});

test('a second account is a second connection', async () => {
  const { page, context } = await engine.person();
  await begin(page, 'far');
  await consent(page, app);
  await signIn(page, { account: 'grace' });
  assert.notEqual(await connectionId(page, app), id);
  await context.close();
});

test('an address that nobody may be asked at is told as what it is', async () => {
  const { page, context } = await engine.person();
  await begin(page, 'silent');
  await page.getByText('This server cannot be connected').waitFor();
  await context.close();
});

test('disconnected, its grant has ended where it was made, and it is reached no more', async () => {
  const current = () => own.grants('ada').some((g) => g.scopes.includes('notes:write'));
  assert.ok(current());
  const { status, body } = await app.api('DELETE', `/api/v1/connections/${id}`);
  assert.deepEqual([status, body.revoked], [200, 'provider']);
  assert.ok(!current(), 'it lives on');
  const before = server.calls.length;
  await assert.rejects(client.callTool({ name: 'whoami', arguments: {} }));
  assert.equal(server.calls.length, before);
});

test(`nothing of all this leaked${deployed ? ', out of the deployment' : ''}`, () => assertNothingLeaked({ ...engine, auth: own }));
