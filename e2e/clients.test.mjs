// A hosted server from the side of its clients: those that others wrote, each
// with nothing but the address and a token. On one machine, and in a deployment.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { connectionId, mint, toProvider } from './fixtures/journey.mjs';
import { gosdk, inspector, prepareClients, remote, typescript1, typescript2 } from './fixtures/others.mjs';

let engine, endpoint;

before(async () => {
  [engine] = await Promise.all([startEngine(), prepareClients()]);
  const { page, context } = await engine.person();
  await toProvider(page, engine.app, 'Analytical engine');
  await signIn(page);
  endpoint = await mint(engine.app, await connectionId(page, engine.app));
  await context.close();
});

after(() => engine?.close());

// The first of them finds no server running.
const clients = {
  'the TypeScript SDK, of both eras': [typescript2, '2026-07-28'],
  'the TypeScript SDK, with sessions': [typescript1, '2025-11-25'],
  'the Go SDK': [gosdk, '2026-07-28'],
  'the MCP Inspector': [inspector],
  'mcp-remote': [remote],
};
for (const [name, [client, version]] of Object.entries(clients)) {
  test(`${name} lists the tools and calls one`, async (t) => {
    const begun = Date.now();
    const saw = await client({ ...endpoint, tool: 'fingerprint' });
    t.diagnostic(`${Date.now() - begun} ms, ${saw.version ?? 'version not told'}`);
    assert.deepEqual(saw.tools, ['fingerprint']);
    assert.match(saw.text, /^[0-9a-f]{64}$/);
    if (version) assert.equal(saw.version, version);
  });
}

test('the same clients find the tool behind the address of all servers', async (t) => {
  const { status, body: all } = await engine.app.api('POST', '/api/v1/mcp-tokens', { body: { user_id: 'me' } });
  assert.equal(status, 201);
  assert.equal(all.url, `${engine.app.url}/mcp`);
  for (const client of [typescript2, typescript1, gosdk, inspector]) {
    const saw = await client({ ...all, tool: 'engine__fingerprint' });
    t.diagnostic(`${client.name}: ${saw.version ?? 'version not told'}`);
    assert.deepEqual(saw.tools, ['engine__fingerprint']);
    assert.match(saw.text, /^[0-9a-f]{64}$/);
  }
  await assert.rejects(typescript1({ ...endpoint, token: all.token, tool: 'fingerprint' }), /401|invalid_token|Unauthorized/);
  await assert.rejects(typescript1({ ...all, token: endpoint.token, tool: 'engine__fingerprint' }), /401|invalid_token|Unauthorized/);
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
