// Keys that a person pastes, and replaces while the server that was given the old
// one runs. On one machine, and in a deployment.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { echoServer, startEngine } from './fixtures/engine.mjs';
import { mcpClient, mint, textOf } from './fixtures/journey.mjs';
import { until } from './fixtures/wait.mjs';

const keyed = JSON.stringify({
  name: 'keyed', display_name: 'Keyed engine', description: 'Tells the hash of its key.', auth_type: 'api_key',
  env_values: [{ name: 'ENGINE_TOKEN', label: 'API key', secret: true }],
  server: { registry: 'command', command: [process.execPath, echoServer] },
});
const hash = (text) => createHash('sha256').update(text).digest('hex');
let engine, client, id;

before(async () => {
  engine = await startEngine({ servers: { keyed } });
});

after(async () => {
  await client?.close();
  await engine?.close();
});

// paste gives the person's connection these values, by the API.
async function paste(key, more = {}) {
  const { status, body } = await engine.app.api('POST', '/api/v1/mcp/servers/keyed/connect', { body: { user_id: 'me', env_values: { ENGINE_TOKEN: key }, ...more } });
  assert.ok(status === 200 || status === 201, JSON.stringify(body));
  return body;
}

async function fingerprint() {
  return textOf(await client.callTool({ name: 'fingerprint', arguments: {} }));
}

test('a pasted key reaches the server, and no page or answer', async () => {
  const made = await paste('canary-key-one');
  id = made.id;
  assert.doesNotMatch(JSON.stringify(made), /canary-key/);
  const { url, token } = await mint(engine.app, id);
  client = await mcpClient(url, token);
  assert.equal(await fingerprint(), hash('canary-key-one'));
});

test('another key in its place reaches the server of a client that stays', async () => {
  const replaced = await paste('canary-key-two', { connection_id: id });
  assert.equal(replaced.id, id);
  await until('the server has the new key', async () => await fingerprint() === hash('canary-key-two'));
  for (let i = 0; i < 20; i++) assert.equal(await fingerprint(), hash('canary-key-two'), 'the old key came back');
});

test('what is no key leaves the one that there is', async () => {
  for (const env_values of [{}, { ENGINE_TOKEN: '  ' }, { ENGINE_TOKEN: 'x'.repeat(17 << 10) }]) {
    const { status } = await engine.app.api('POST', '/api/v1/mcp/servers/keyed/connect', { body: { user_id: 'me', env_values, connection_id: id } });
    assert.equal(status, 400);
  }
  const { status } = await engine.app.api('POST', '/api/v1/mcp/servers/keyed/connect', { body: { user_id: 'you', env_values: { ENGINE_TOKEN: 'canary-key-three' }, connection_id: id } });
  assert.equal(status, 404, 'somebody else replaced it');
  assert.equal(await fingerprint(), hash('canary-key-two'));
});
