// A server that somebody else runs, behind our endpoint: the client brings our
// token, the remote server gets the provider's, renewed while calls go on. On one
// machine, and in a deployment.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { engineScopes, startEngine } from './fixtures/engine.mjs';
import { connectionId, consent, mcpClient, mint, textOf, tools } from './fixtures/journey.mjs';
import { deployed } from './fixtures/lanyard.mjs';
import { startRemoteServer } from './fixtures/remoteserver.mjs';
import { until } from './fixtures/wait.mjs';

const accessTTL = 16; // seconds; renewed at half of it
let engine, app, auth, server, id, endpoint, client;

const preset = (name, url) => JSON.stringify({
  name, display_name: `Remote ${name}`, description: 'Runs elsewhere.', auth_type: 'oauth', oauth_service: 'engine',
  oauth_scopes: Object.entries(engineScopes).map(([scope, why]) => ({ scope, why })),
  server: { registry: 'remote', url },
});

before(async () => {
  server = await startRemoteServer((token) => auth.isCurrent(token));
  engine = await startEngine({ accessTTL, servers: { far: preset('far', server.url), private: preset('private', 'https://169.254.169.254/mcp'), shut: preset('shut', 'https://10.1.2.3/mcp') } });
  ({ app, auth } = engine);
});

after(async () => {
  await client?.close();
  await engine?.close();
  await server?.close();
});

// connect connects a server on the page, and returns the connection's id.
async function connect(name) {
  const { page, context } = await engine.person();
  await page.goto(`${app.url}/mcp/servers`);
  await page.getByRole('button', { name: new RegExp(`^Connect Remote ${name} at `) }).click();
  await page.waitForURL(`${app.url}/c/*`);
  await page.getByText('The server is run by others').waitFor(); // before anything is granted
  await consent(page, app);
  await signIn(page);
  const connection = await connectionId(page, app);
  await context.close();
  return connection;
}

const call = async () => textOf(await client.callTool({ name: 'whoami', arguments: {} }));

test('an MCP client reaches it by our endpoint, with our token', async () => {
  id = await connect('far');
  assert.deepEqual((await tools(app, id)).names, ['whoami']);
  endpoint = await mint(app, id);
  client = await mcpClient(endpoint.url, endpoint.token);
  assert.deepEqual((await client.listTools()).tools.map((t) => t.name), ['whoami']);
  assert.equal(await call(), 'e2e asked');
  assert.ok(!(await app.processes()).some((p) => /\/runner$/.test(p.command[0]) || p.command[1] === 'runner'), 'a task was started');
});

test('it is given the provider’s token, and nothing of the client’s', () => {
  assert.ok(server.calls.length > 3);
  for (const { token, headers } of server.calls) {
    assert.notEqual(token, endpoint.token);
    assert.equal(auth.accountOf(token), 'ada');
    for (const name of Object.keys(headers)) assert.match(name, /^(host|connection|content-(type|length)|accept|accept-encoding|authorization|user-agent|transfer-encoding|mcp-[a-z-]+)$/);
  }
});

test('calls go on while the token is renewed, and none fails', async (t) => {
  const tokens = () => new Set(server.calls.map((c) => c.token));
  const begun = tokens().size;
  let calls = 0;
  await until('two renewals have reached the server', async () => {
    assert.equal(await call(), 'e2e asked');
    calls += 1;
    return tokens().size >= begun + 2;
  }, { timeout: 90_000, every: 50 });
  const refused = server.calls.filter((c) => !c.accepted).length;
  t.diagnostic(`${calls} calls, ${tokens().size - begun} renewals, ${refused} requests with a token that ended on its way`);
  assert.ok(refused <= 2, 'it was shown tokens that had ended long before');
  assert.ok(auth.requests.every((r) => r.grantType !== 'refresh_token' || r.status === 200), 'a refresh token was spent twice');
});

test('the session there ends, and the client does not notice', async () => {
  server.forget();
  assert.equal(await call(), 'e2e asked');
});

test('a tool is called from the API, too', async () => {
  const { status, body } = await app.api('POST', `/api/v1/connections/${id}/tools/whoami`, { body: {} });
  assert.deepEqual([status, body.content?.[0].text], [200, 'lanyard asked']);
});

for (const name of ['private', 'shut']) {
  test(`a preset that names ${name === 'private' ? 'the metadata service' : 'a private network'} reaches nothing`, async () => {
    const { url, token } = await mint(app, await connect(name));
    const begun = Date.now();
    await assert.rejects(mcpClient(url, token), /not one on the public internet/);
    assert.ok(Date.now() - begun < 10_000);
  });
}

test('disconnected, it reaches nothing', async () => {
  assert.equal((await app.api('DELETE', `/api/v1/connections/${id}`)).status, 200);
  const before = server.calls.length;
  await assert.rejects(call());
  assert.equal(server.calls.length, before);
});

test(`nothing of all this leaked${deployed ? ', out of the deployment' : ''}`, () => assertNothingLeaked(engine));
