// One URL and nothing else: clients that nobody here wrote find the authorization
// server, open a person's browser, and have a token of their own. On one machine,
// and in a deployment.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { DocumentHost } from './fixtures/document.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { deployed } from './fixtures/lanyard.mjs';
import { prepareClients } from './fixtures/others.mjs';
import { allow, Callback, connected, gosdk, inspector, Memory, remote, typescript1, typescript2, used } from './fixtures/signingin.mjs';

let engine, documents, url, page;

before(async () => {
  documents = await DocumentHost.start();
  [engine] = await Promise.all([startEngine({ env: { SSL_CERT_FILE: documents.authority } }), prepareClients()]);
  url = `${engine.app.url}/mcp/engine`;
  ({ page } = await engine.person());
});

after(async () => {
  await engine?.close();
  await documents?.close();
});

// open is the person at the address that a client opens to sign in.
const open = (address) => allow(engine, page, address);

const connections = async () => (await engine.app.api('GET', '/api/v1/connections?user_id=me')).body.connections;

// Each of them signs in with a browser; the first one's way leads to the provider.
test('the TypeScript SDK of the era with sessions registers itself, and connects the person', async (t) => {
  const callback = await Callback.listen();
  t.after(() => callback.close());
  const memory = new Memory(callback);
  const client = await connected(typescript1(memory), memory, url, open);
  assert.deepEqual((await used(client, 'fingerprint')).tools, ['fingerprint']);
  assert.equal((await connections()).length, 1);
  assert.match(memory.saved.access_token, /^lat_/);
  assert.equal(memory.saved.token_type.toLowerCase(), 'bearer');

  // Its access token is refused: it gets another one by itself, and the call succeeds.
  const before = memory.saved;
  memory.saved = { ...before, access_token: before.access_token.slice(0, -4) + 'AAAA' };
  assert.match((await used(client, 'fingerprint')).text, /^[0-9a-f]{64}$/);
  assert.notEqual(memory.saved.refresh_token, before.refresh_token, 'the refresh token has not rotated');
  assert.equal(memory.opened, undefined, 'a browser was opened for a renewal');

  // A refresh token that was spent ends it all: the next call finds the door closed.
  memory.saved = { ...memory.saved };
  await refresh(memory.client.client_id, memory.saved.refresh_token); // the newest one is used, by somebody
  const reused = await refresh(memory.client.client_id, before.refresh_token);
  assert.equal(reused.body.error, 'invalid_grant');
  await assert.rejects(used(client, 'fingerprint'), /Unauthorized|401|invalid|revoked/i);
  await client.close();
});

async function refresh(client, token) {
  const res = await fetch(`${engine.app.url}/oauth/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', client_id: client, refresh_token: token }) });
  return { status: res.status, body: await res.json() };
}

test('the TypeScript SDK of both eras, by its metadata document', { skip: deployed && 'functions trust public authorities only' }, async (t) => {
  const callback = await Callback.listen();
  t.after(() => callback.close());
  const document = documents.publish('/analyst.json', { client_name: 'Analyst', redirect_uris: ['http://127.0.0.1/callback'] });
  const memory = new Memory(callback, { document });
  const client = await connected(await typescript2(memory), memory, url, open);
  const saw = await used(client, 'fingerprint');
  assert.deepEqual(saw.tools, ['fingerprint']);
  assert.match(saw.text, /^[0-9a-f]{64}$/);
  assert.equal(client.getNegotiatedProtocolVersion(), '2026-07-28');
  assert.equal(memory.client.client_id, document);
  assert.ok(documents.asked.includes('/analyst.json'));

  // The person takes it back: the next call is refused.
  const [{ id }] = await connections();
  const { body } = await engine.app.api('GET', `/api/v1/connections/${id}/clients`);
  const mine = body.clients.find((c) => c.client_id === document);
  assert.equal(mine.name, 'Analyst');
  assert.equal((await engine.app.api('DELETE', `/api/v1/connections/${id}/clients/${mine.id}`)).status, 204);
  await assert.rejects(used(client, 'fingerprint'), /Unauthorized|401|invalid|revoked/i);
  await client.close();
});

const others = { 'the Go SDK, which registers itself': gosdk, 'mcp-remote': remote, 'the MCP Inspector': inspector };
for (const [name, client] of Object.entries(others)) {
  test(name, async (t) => {
    const begun = Date.now();
    const saw = await client({ url, tool: 'fingerprint', open });
    t.diagnostic(`${Date.now() - begun} ms, ${saw.version ?? 'version not told'}`);
    assert.deepEqual(saw.tools, ['fingerprint']);
    assert.match(saw.text, /^[0-9a-f]{64}$/);
  });
}

test('the Go SDK, by its metadata document', { skip: deployed && 'functions trust public authorities only' }, async () => {
  const document = documents.publish('/gopher.json', { client_name: 'Gopher', redirect_uris: ['http://127.0.0.1/callback'] });
  const saw = await gosdk({ url, tool: 'fingerprint', open, document });
  assert.match(saw.text, /^[0-9a-f]{64}$/);
});

test('all of them use the one connection', async () => assert.equal((await connections()).length, 1));

test('nothing of all this leaked', () => assertNothingLeaked(engine));
