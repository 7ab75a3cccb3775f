// A grant dies at the provider, and nobody is looking: a webhook tells the
// tenant's own system, which sends the person the link in it, and the same
// connection works again. On one machine, and in a deployment.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { connectionId, consent, toProvider } from './fixtures/journey.mjs';
import { scan } from './fixtures/procscan.mjs';
import { startReceiver, verified } from './fixtures/receiver.mjs';
import { until } from './fixtures/wait.mjs';

// Seconds. It is renewed at half of it though nobody asks and no task runs: the
// schedule plans for lives of more than a minute.
const accessTTL = 80;
let receiver, engine, app, auth, secret, id, link;

before(async () => {
  receiver = await startReceiver();
  engine = await startEngine({ accessTTL, env: { LANYARD_WEBHOOK_URL: receiver.url } });
  ({ app, auth } = engine);
  secret = (await readFile(join(app.data, 'webhook-secret'), 'utf8')).trim();
});

after(async () => {
  await engine?.close();
  await receiver?.close();
});

// told waits for the n-th webhook (from 0) about the connection's health.
const told = (n) => until(`webhook ${n} has come`, () => receiver.got.filter((r) => verified(secret, r).type === 'connection.health_changed')[n], { timeout: 90_000, every: 100 });

test('whoever sets an endpoint tries it', async () => {
  receiver.answers.push(202, 307);
  const call = () => app.api('POST', '/api/v1/webhooks/test');
  assert.deepEqual((await call()).body, { delivered: true, status: 202 });
  const { type, data } = verified(secret, receiver.got[0]);
  assert.equal(type, 'webhook.test');
  assert.equal(data.event_id, receiver.got[0].headers['webhook-id']);
  const { status, body } = await call();
  assert.deepEqual([status, body.error], [502, 'webhook_refused']);
  assert.match(body.error_description, /307/);
});

test('a new connection is told of', async () => {
  const { page, context } = await engine.person();
  await toProvider(page, app, 'Analytical engine');
  await signIn(page);
  id = await connectionId(page, app);
  const first = verified(secret, await told(0));
  assert.equal(first.data.health, 'ok');
  assert.equal(first.data.previous_health, undefined);
  assert.equal(first.data.connection_id, id);
  assert.equal(first.data.reconnect_url, undefined);
  await context.close();
});

test('a grant that dies is told of, again until somebody takes it', async () => {
  receiver.answers.push(500);
  auth.endGrants('ada');
  const lost = await told(1);
  const message = verified(secret, lost);
  const { data } = message;
  assert.deepEqual([data.health, data.previous_health, data.connection_id, data.user_id, data.server, data.provider, data.code],
    ['reconnect', 'ok', id, 'me', 'engine', 'engine', 'invalid_grant']);
  assert.ok(data.reason);
  link = data.reconnect_url;
  assert.ok(link.startsWith(`${app.url}/l/`));
  assert.ok(Date.parse(data.reconnect_expires_at) > Date.now() + 6 * 86_400_000);
  // What was changed on the way, and what is old, is refused.
  assert.throws(() => verified(secret, { ...lost, body: lost.body.replace('"me"', '"eve"') }));
  assert.throws(() => verified(secret, { ...lost, headers: { ...lost.headers, 'webhook-timestamp': String(lost.at / 1000 - 600 | 0) } }));

  const again = await told(2);
  assert.equal(again.headers['webhook-id'], lost.headers['webhook-id']);
  assert.ok(again.at - lost.at >= 5000, 'too early');
  assert.notEqual(again.headers['webhook-timestamp'], lost.headers['webhook-timestamp']);
  assert.deepEqual(verified(secret, again), message);
});

test('the person who opens the link reconnects the same connection', async () => {
  const { page, context } = await engine.person({ stranger: true });
  await page.goto(link);
  await page.waitForURL(`${app.url}/mcp/servers*`); // the link’s page goes on by itself
  await page.getByRole('button', { name: /^Reconnect/ }).click();
  await consent(page, app);
  await signIn(page);
  assert.equal(await connectionId(page, app), id);
  const { data } = verified(secret, await told(3));
  assert.deepEqual([data.health, data.previous_health, data.connection_id, data.reconnect_url], ['ok', 'reconnect', id, undefined]);
  const { status, body } = await app.api('GET', `/api/v1/connections/${id}/token`);
  assert.equal(status, 200);
  assert.equal(auth.accountOf(body.access_token), 'ada');
  await context.close();
});

test('nothing of all this leaked', async () => {
  const secrets = { link: link.split('.').at(-1), 'signing secret': secret, 'the receiver’s own': receiver.secret };
  const { findings } = await scan({ secrets, dirs: [app.data], skip: [join(app.data, 'packages'), join(app.data, 'webhook-secret')] });
  assert.deepEqual(findings, []);
  assert.match(app.output, /an event was not delivered/, 'the output is not what it was taken for');
  for (const [label, value] of Object.entries(secrets)) assert.ok(!app.output.includes(value), `${label} in the output`);
  await assertNothingLeaked(engine);
});
