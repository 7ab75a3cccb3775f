// In the middle of a conversation: the grant of a connection has died, a client
// calls a tool, and its person is asked by URL, in the form of each era. After
// the grant the call that waited, or the next one, succeeds. On one machine, and
// in a deployment.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { consent, openAs, textOf } from './fixtures/journey.mjs';
import { deployed } from './fixtures/lanyard.mjs';
import { prepareClients } from './fixtures/others.mjs';
import { allow, Callback, connected, Memory, typescript1, typescript2, used } from './fixtures/signingin.mjs';
import { until } from './fixtures/wait.mjs';

const accessTTL = 8; // seconds
const capabilities = { elicitation: { url: {} } };
let engine, url, page, callback;

before(async () => {
  [engine, callback] = await Promise.all([startEngine({ accessTTL }), Callback.listen(), prepareClients()]);
  url = `${engine.app.url}/mcp/engine`;
  ({ page } = await engine.person());
});

after(async () => {
  callback?.close();
  await engine?.close();
});

// open is the person at the address that a client opens to sign in.
const open = (address) => allow(engine, page, address);

// reconnect is the person at the address that a call asks them to open.
async function reconnect(address) {
  await page.goto(address);
  await consent(page, engine.app);
  await signIn(page);
  await page.waitForURL((at) => at.origin === engine.app.url && !at.pathname.startsWith('/c/'));
}

const connection = async () => (await engine.app.api('GET', '/api/v1/connections?user_id=me')).body.connections[0];

// dies has the provider end the grant, and us find it out.
async function dies() {
  const { id } = await connection();
  engine.auth.endGrants('ada');
  const refused = await until('the token has ended', async () => {
    const { status, body } = await engine.app.api('GET', `/api/v1/connections/${id}/token?min_ttl=0`);
    return status !== 200 && [status, body.error];
  }, { every: 500 });
  assert.deepEqual(refused, [409, 'reconnect_needed']);
}

test('with sessions: the error names the address, and the next call succeeds', async () => {
  const memory = new Memory(callback);
  const client = await connected(typescript1(memory, { capabilities }), memory, url, open);
  assert.match((await used(client, 'fingerprint')).text, /^[0-9a-f]{64}$/);
  const { id } = await connection();
  await dies();
  const err = await client.callTool({ name: 'fingerprint', arguments: {} }).then(() => assert.fail('the call succeeded'), (e) => e);
  assert.equal(err.code, -32042);
  const [asked] = err.elicitations;
  assert.equal(asked.mode, 'url');
  assert.ok(asked.url.startsWith(`${engine.app.url}/c/`));
  assert.ok(asked.elicitationId);
  assert.doesNotMatch(asked.url, /ada|me\b|example/);

  // Somebody else opens it. On one machine everybody there is its owner.
  if (deployed) {
    const other = await engine.person({ stranger: true });
    await openAs(other.page, engine.app, 'eve');
    const answer = await other.page.goto(asked.url);
    assert.equal(answer.status(), 403);
    assert.equal(await other.page.getByRole('button', { name: /^Continue to/ }).count(), 0);
    await other.context.close();
  }

  await reconnect(asked.url);
  assert.match((await used(client, 'fingerprint')).text, /^[0-9a-f]{64}$/);
  assert.equal((await connection()).id, id, 'another connection was made');
  await client.close();
});

test('without sessions: the call itself waits for the answer', async () => {
  const memory = new Memory(callback);
  const asked = [];
  const make = await typescript2(memory, { capabilities });
  const client = await connected((...args) => {
    const made = make(...args);
    made.client.setRequestHandler('elicitation/create', async ({ params }) => {
      asked.push(params);
      await reconnect(params.url);
      return { action: 'accept' };
    });
    return made;
  }, memory, url, open);
  assert.equal(client.getNegotiatedProtocolVersion(), '2026-07-28');
  assert.match((await used(client, 'fingerprint')).text, /^[0-9a-f]{64}$/);
  await dies();
  const result = await client.callTool({ name: 'fingerprint', arguments: {} });
  assert.match(textOf(result), /^[0-9a-f]{64}$/);
  assert.equal(asked.length, 1);
  assert.equal(asked[0].mode, 'url');
  await client.close();
});

test('a client that cannot ask is told in words, with the address', async () => {
  const memory = new Memory(callback);
  const client = await connected(typescript1(memory), memory, url, open);
  await dies();
  const result = await client.callTool({ name: 'fingerprint', arguments: {} });
  assert.equal(result.isError, true);
  const address = /https?:\/\/\S+/.exec(textOf(result))?.[0];
  assert.ok(address?.startsWith(engine.app.url), textOf(result));
  assert.match(result._meta['mcp/www_authenticate'][0], /^Bearer resource_metadata="/);
  await client.close();
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
