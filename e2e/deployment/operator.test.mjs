// What the operator of a deployment does beside it, with the command line: a
// second tenant, whose people connect by its own links and whose keys see
// nothing of the first one's; and keys that are rotated while they are in use.
// For deployments only.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { signIn } from '../fixtures/browser.mjs';
import { assertNothingLeaked } from '../fixtures/canary.mjs';
import { startEngine } from '../fixtures/engine.mjs';
import { consent } from '../fixtures/journey.mjs';
import { until } from '../fixtures/wait.mjs';

const run = promisify(execFile);
const program = fileURLToPath(new URL('../../bin/lanyard', import.meta.url));
let engine, app, key;

// operator runs the command line as whoever has the account's credentials.
async function operator(...args) {
  const name = basename(app.root).toLowerCase();
  const { stdout } = await run(program, args, {
    env: {
      PATH: process.env.PATH, HOME: app.root, AWS_ENDPOINT_URL: process.env.LANYARD_TEST_AWS, AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'emulated', AWS_SECRET_ACCESS_KEY: 'emulated', LANYARD_TABLE: name, LANYARD_SECRETS: name,
    },
  });
  return stdout.trim();
}

before(async () => {
  engine = await startEngine();
  ({ app } = engine);
});

after(() => engine?.close());

test('a second tenant: its link, its person’s connection, and nobody else’s', async () => {
  await operator('tenants', 'create', 'acme', '--confirm', 'on');
  key = await operator('keys', 'create', '--tenant', 'acme');
  const link = await app.api('POST', '/api/v1/links', { key, body: { user_id: 'alice', servers: ['engine'] } });
  assert.equal(link.status, 201);

  const { page, context } = await engine.person({ stranger: true });
  await page.goto(link.body.url);
  await page.waitForURL(`${app.url}/mcp/servers*`); // the link’s page goes on by itself
  await page.getByRole('button', { name: 'Connect Analytical engine' }).click();
  await page.waitForURL(`${app.url}/c/*`);
  const flow = new URL(page.url()).pathname.split('/').at(-1);
  await consent(page, app);
  await signIn(page);
  const look = (k) => app.api('GET', `/api/v1/flows/${flow}`, { key: k });
  await until('the flow waits for its confirmation', async () => (await look(key)).body.status === 'pending');
  const { connection_id: id } = (await look(key)).body;

  // Nothing of it is the default tenant’s.
  assert.equal((await look()).status, 404);
  assert.equal((await app.api('GET', `/api/v1/connections/${id}`)).status, 404);
  assert.deepEqual((await app.api('GET', '/api/v1/connections')).body.connections, []);
  assert.equal((await app.api('POST', `/api/v1/flows/${flow}/confirm`, { body: { user_id: 'alice' } })).status, 404);

  const waiting = await app.api('GET', `/api/v1/connections/${id}`, { key });
  assert.deepEqual([waiting.status, waiting.body.user_id, waiting.body.status], [200, 'alice', 'pending']);
  assert.equal((await app.api('POST', `/api/v1/flows/${flow}/confirm`, { key, body: { user_id: 'alice' } })).status, 200);
  assert.equal((await app.api('GET', `/api/v1/connections/${id}`, { key })).body.status, 'connected');
  assert.equal((await app.api('GET', `/api/v1/connections/${id}/token`, { key })).status, 200);
  assert.equal((await app.api('GET', `/api/v1/connections/${id}/token`)).status, 404);
  await context.close();
});

test('a key is rotated while it is in use', async () => {
  const status = async (k) => (await app.api('GET', '/api/v1/connections', { key: k })).status;
  const next = await operator('keys', 'rotate', '--tenant', 'acme', '--overlap', '1h');
  assert.notEqual(next, key);
  assert.deepEqual([await status(key), await status(next)], [200, 200], 'during the overlap both work');
  const last = await operator('keys', 'rotate', '--tenant', 'acme', '--overlap', '0s');
  assert.deepEqual([await status(next), await status(last)], [401, 200]);
  assert.equal(await status(), 200, 'the default tenant’s own key');
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
