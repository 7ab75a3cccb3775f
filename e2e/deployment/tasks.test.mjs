// Tasks that end by themselves: one that is killed leaves no record that claims
// it is there, and the next call starts another; one that cannot start says why,
// and is not started at every request. For deployments only.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPerson, signIn } from '../fixtures/browser.mjs';
import { assertNothingLeaked } from '../fixtures/canary.mjs';
import { startEngine } from '../fixtures/engine.mjs';
import { connectionId, mcpClient, mint, openAs, textOf, tools, toProvider } from '../fixtures/journey.mjs';
import { until } from '../fixtures/wait.mjs';

let engine, app, endpoint;

before(async () => {
  engine = await startEngine();
  ({ app } = engine);
});

after(() => engine?.close());

const runners = async () => (await app.processes()).filter((p) => /\/runner\/runner$/.test(p.command[0])).map((p) => p.pid);
const ended = () => app.output.match(/"a task ended by itself"/g)?.length ?? 0;

// kill ends the one task from outside, and returns when EventBridge has told so.
async function kill() {
  const [pid, ...more] = await runners();
  assert.deepEqual(more, []);
  const before = ended();
  process.kill(pid, 'SIGKILL');
  await until('the event has arrived', () => ended() > before);
}

const list = (id) => app.api('GET', `/api/v1/connections/${id}/tools`);
const image = async (server) => assert.ok((await fetch(`${app.control}/no-image?server=${server}`, { method: 'POST' })).ok);

// connect connects the user, and returns the connection's id.
async function connect(user) {
  const { page, context } = await newPerson(engine.browser);
  engine.witness.watch(context);
  await openAs(page, app, user);
  await toProvider(page, app, 'Analytical engine');
  await signIn(page);
  const connection = await connectionId(page, app);
  await context.close();
  return connection;
}

test('connected, and its server answers', async () => {
  const id = await connect('ada');
  assert.deepEqual((await tools(app, id)).names, ['fingerprint']);
  endpoint = await mint(app, id);
});

test('a task is killed: the event tells, and the next call has another', async (t) => {
  const [first] = await runners();
  await kill();
  assert.match(app.output, /"a task ended by itself".*"why":"its task ended with exit code 137"/);
  assert.deepEqual(await runners(), [], 'nothing is started that nobody asks for');
  const begun = Date.now();
  const client = await mcpClient(endpoint.url, endpoint.token);
  assert.match(textOf(await client.callTool({ name: 'fingerprint', arguments: {} })), /\w/);
  await client.close();
  t.diagnostic(`the call after it took ${Date.now() - begun} ms`);
  const [second, ...more] = await runners();
  assert.deepEqual(more, []);
  assert.notEqual(second, first);
});

test('an image that cannot be pulled is told within seconds, and not pulled at every request', async (t) => {
  await image('engine');
  const id = await connect('grace');
  const begun = Date.now();
  const { status, body } = await list(id);
  t.diagnostic(`told after ${Date.now() - begun} ms: ${body.error_description}`);
  assert.deepEqual([status, body.error], [502, 'server_failed']);
  assert.match(body.error_description, /failed to start: the image of its task could not be fetched/);
  assert.doesNotMatch(app.answers.map((a) => a.text).join(), /dkr\.ecr|sha256/);
  assert.ok(Date.now() - begun < 10_000);
  for (let i = 0; i < 20; i += 1) {
    const again = await list(id);
    assert.deepEqual([again.status, again.body.error], [502, 'server_failed']);
    assert.ok(Number(again.headers.get('retry-after')) >= 1);
  }
  assert.equal(app.output.match(/"why":"the image of its task could not be fetched"/g).length, 1, 'twenty requests have started tasks');
  await image('');
  await until('it is tried again, and lists its tools', async () => (await list(id)).status === 200, { timeout: 60_000, every: 500 });
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
