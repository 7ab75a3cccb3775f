// A hosted MCP server through its endpoint, by a client that nobody here wrote:
// its calls go on while the access token is renewed under it. On one machine,
// and in a deployment.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { connectionId, mcpClient, mint, textOf, tools, toProvider } from './fixtures/journey.mjs';
import { until } from './fixtures/wait.mjs';

const accessTTL = 16; // seconds; renewed at half of it
let engine, app, auth, id, client, endpoint, first;

before(async () => {
  engine = await startEngine({ accessTTL });
  ({ app, auth } = engine);
});

after(async () => {
  await client?.close();
  await engine?.close();
});

const hash = (token) => createHash('sha256').update(token).digest('hex');
const fingerprint = async (c) => textOf(await c.callTool({ name: 'fingerprint', arguments: {} }));

// issued are the access tokens of ada's, oldest first.
const issued = () => Object.entries(auth.secrets()).filter(([label]) => label.startsWith('AccessToken') && label.endsWith('ada')).map(([, token]) => token);

test('the endpoint wants a bearer, and says so as clients expect', async () => {
  for (const authorization of [undefined, 'Bearer lyt_of-nobody']) {
    const res = await fetch(`${app.url}/mcp/engine`, { method: 'POST', headers: { 'content-type': 'application/json', ...(authorization && { authorization }) }, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' });
    assert.equal(res.status, 401);
    const challenge = res.headers.get('www-authenticate');
    assert.ok(challenge.startsWith(`Bearer resource_metadata="${app.url}/.well-known/oauth-protected-resource/mcp/engine"`), challenge);
    assert.ok(challenge.includes('scope="engine:read engine:run"'), challenge);
    assert.equal(challenge.includes('error="invalid_token"'), Boolean(authorization), challenge);
    assert.equal((await res.json()).error, 'invalid_token');
  }
});

test('an MCP client’s call is made with the person’s token', async () => {
  const { page, context } = await engine.person();
  await toProvider(page, app, 'Analytical engine');
  await signIn(page);
  id = await connectionId(page, app);
  const { names } = await tools(app, id);
  assert.deepEqual(names, ['fingerprint']);
  endpoint = await mint(app, id);
  assert.equal(endpoint.url, `${app.url}/mcp/engine`);
  client = await mcpClient(endpoint.url, endpoint.token);
  first = await fingerprint(client);
  assert.ok(issued().map(hash).includes(first), 'a token of nobody');
  await page.reload();
  await page.getByText('fingerprint', { exact: true }).first().waitFor();
  await context.close();
});

test('the same client’s next calls have the renewed token, and none is lost', async () => {
  const seen = [first];
  await until('two renewals have reached the server', async () => {
    const now = await fingerprint(client); // an error of any call fails the test
    if (now !== seen.at(-1)) seen.push(now);
    return seen.length > 2;
  }, { timeout: 90_000, every: 250 });
  const hashes = issued().map(hash);
  assert.deepEqual(seen.map((h) => hashes.indexOf(h)).every((at, i, all) => at >= 0 && (i === 0 || at > all[i - 1])), true, 'not in the order of their issue');
  assert.ok(auth.requests.every((r) => r.grantType !== 'refresh_token' || r.status === 200), 'a refresh token was spent twice');
});

test('a token that was revoked, and a connection that has ended, reach nothing', async () => {
  const other = await mint(app, id);
  assert.equal((await app.api('DELETE', `/api/v1/connections/${id}/mcp-tokens/${other.id}`)).status, 204);
  await assert.rejects(mcpClient(other.url, other.token), /401|invalid_token|Unauthorized/);
  assert.equal((await app.api('DELETE', `/api/v1/connections/${id}`)).body.revoked, 'provider');
  await assert.rejects(fingerprint(client));
  await until('the server has ended', async () => !(await app.processes()).some((p) => p.command.some((arg) => arg.endsWith('echo-server.cjs'))));
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
