// Two servers on one data directory: both hand out and renew one connection's
// tokens, one is killed in a renewal, and the other goes on.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { launchBrowser, newPerson, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { startEngine } from './fixtures/engine.mjs';
import { atDemo, connectionId, toProvider } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { until } from './fixtures/wait.mjs';

const accessTTL = 12; // seconds; renewed at half of it, by whoever comes first: a caller, or the schedule of one of the two
let engine, auth, one, other, id;

before(async () => {
  engine = await startEngine({ accessTTL, env: { LANYARD_DEMO_ADDR: 'off' } });
  ({ app: one, auth } = engine);
  other = await prepareLanyard({ env: {
    LANYARD_DATA: one.data, LANYARD_PRESETS: one.overlay, LANYARD_DEMO_ADDR: 'off',
    ENGINE_CLIENT_ID: auth.clientId, ENGINE_CLIENT_SECRET: auth.clientSecret,
  } });
  other.data = one.data;
  await other.start();
});

after(async () => {
  await other?.remove();
  await engine?.close();
});

const token = (app) => app.api('GET', `/api/v1/connections/${id}/token?min_ttl=300`);
const renewals = () => auth.requests.filter((r) => r.grantType === 'refresh_token');

const due = () => until('a renewal is due', () => Date.now() - auth.requests.at(-1).at > accessTTL * 600);

test('both serve one connection, and each renewal is one of them’s', async () => {
  const { page, context } = await engine.person();
  await toProvider(page, one, 'Analytical engine');
  await signIn(page);
  id = await connectionId(page, one);
  await context.close();
  for (let round = 1; round <= 3; round++) {
    await due();
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => token(i % 2 ? one : other)));
    assert.deepEqual([...new Set(answers.map((a) => a.status))], [200]);
    const given = new Set(answers.map((a) => a.body.access_token));
    assert.equal(given.size, 1, 'different tokens were given');
    assert.ok(await auth.isCurrent([...given][0]), 'the token is not the newest');
    assert.ok(renewals().length >= round);
  }
  assert.ok(renewals().every((r) => r.status === 200), 'a refresh token was spent twice');
  assert.equal(auth.grants('ada').length, 1);
});

test('killed while the provider has its request, one leaves the rest to the other', async () => {
  await due();
  assert.equal((await token(other)).status, 200);
  other.child.kill('SIGSTOP'); // the next renewal is not its own
  await due();
  auth.failNext('hang');
  const lost = token(one).catch(() => undefined);
  await until('the provider has the request', () => auth.hanging === 1);
  other.child.kill('SIGCONT');
  const waiting = token(other); // for the lease of the other
  await one.kill9();
  auth.heal();
  await lost;
  // Nobody waits a minute and a half until the dead one's lease has run out.
  await promisify(execFile)('sqlite3', [join(one.data, 'lanyard.db'), '.timeout 5000',
    `UPDATE connections SET doc = json_set(doc, '$.lease.until', '2020-01-01T00:00:00Z') WHERE id = '${id}'`]);
  const { status, body } = await waiting;
  assert.equal(status, 200, JSON.stringify(Object.keys(body)));
  assert.ok(await auth.isCurrent(body.access_token), 'the token is not the newest');
  assert.deepEqual(renewals().slice(-2).map((r) => r.status), [undefined, 200]);
});

test('started again, it serves what the other has renewed', async () => {
  await one.start({ ENGINE_CLIENT_ID: auth.clientId, ENGINE_CLIENT_SECRET: auth.clientSecret });
  await due();
  for (const app of [one, other]) {
    const { status, body } = await token(app);
    assert.equal(status, 200);
    assert.ok(await auth.isCurrent(body.access_token), 'the token is not the newest');
  }
  const { body } = await other.api('GET', `/api/v1/connections/${id}`);
  assert.equal(body.status, 'connected');
  assert.equal(auth.grants('ada').length, 1);
});

test('of the demo provider there is one, which both renew at, and which outlives the second', async () => {
  const first = await prepareLanyard();
  const second = await prepareLanyard({ env: { LANYARD_DATA: first.data } });
  second.data = first.data;
  const browser = await launchBrowser();
  try {
    await first.start();
    const { page, context } = await newPerson(browser);
    await toProvider(page, first, 'Demo notes');
    await atDemo(page);
    const demo = await connectionId(page, first);
    await context.close();
    await second.start();
    assert.match(second.output, /another .*lanyard dev.* works with this data directory/);
    const given = new Set();
    for (const app of [second, first, second, first]) {
      // Five minutes without a few seconds: each of these is a renewal.
      const { status, body } = await app.api('GET', `/api/v1/connections/${demo}/token?min_ttl=297`);
      assert.equal(status, 200, JSON.stringify(Object.keys(body)));
      given.add(body.access_token);
      await until('the token lives shorter', () => Date.now() > Date.parse(body.expires_at) - 296_000);
    }
    assert.equal(given.size, 4, 'not each renewed');
    await second.stop();
    assert.equal((await first.api('GET', `/api/v1/connections/${demo}/token?min_ttl=297`)).status, 200);
    await access(join(first.data, 'demo-url'));
  } finally {
    await browser.close();
    await second.remove();
    await first.remove();
  }
});

test('nothing of all this leaked', async () => {
  await assertNothingLeaked(engine);
  await assertNothingLeaked({ ...engine, app: other });
});
