// Tasks that wait: a connection's first call is answered by a task that was
// running before there was a connection, each person's by another one, and what
// was taken is replaced. For deployments only.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPerson, signIn } from '../fixtures/browser.mjs';
import { assertNothingLeaked } from '../fixtures/canary.mjs';
import { startEngine } from '../fixtures/engine.mjs';
import { connectionId, mcpClient, mint, openAs, textOf, tools, toProvider } from '../fixtures/journey.mjs';
import { until } from '../fixtures/wait.mjs';

let engine, app;
const servers = []; // of each person: {task, runner, fingerprint}

before(async () => {
  engine = await startEngine({ env: { LANYARD_WARM_POOL: 'engine=1' } });
  ({ app } = engine);
});

after(() => engine?.close());

const ids = (what) => [...app.output.matchAll(new RegExp(`${what}.*?(tsk_\\w+)`, 'g'))].map((m) => m[1]);
const runners = async () => (await app.processes()).filter((p) => /\/runner\/runner$/.test(p.command[0])).map((p) => p.pid);

// runnersOfServers are the runners that an MCP server descends from.
async function runnersOfServers() {
  const all = new Map((await app.processes()).map((p) => [p.pid, p]));
  const tops = await runners();
  return [...all.values()].filter((p) => p.command.some((arg) => arg.endsWith('echo-server.cjs'))).map((p) => {
    for (let at = p; at; at = all.get(at.ppid)) if (tops.includes(at.pid)) return at.pid;
    return undefined;
  });
}

// waiting is the one task that has registered and that nobody has been assigned.
async function waiting() {
  const free = () => ids('warm task registered').filter((id) => !ids('warm task assigned').includes(id));
  await until('a task waits', () => free().length === 1);
  return free()[0];
}

// firstCall connects the user and lists the tools of the server.
async function firstCall(t, user) {
  const { page, context } = await newPerson(engine.browser);
  engine.witness.watch(context);
  await openAs(page, app, user);
  await toProvider(page, app, 'Analytical engine');
  await signIn(page);
  const id = await connectionId(page, app);
  await context.close();
  const begun = Date.now();
  const { names } = await tools(app, id, { every: 20 });
  t.diagnostic(`${user}: the tools were listed after ${Date.now() - begun} ms`);
  assert.deepEqual(names, ['fingerprint']);
  const endpoint = await mint(app, id);
  const client = await mcpClient(endpoint.url, endpoint.token);
  const fingerprint = textOf(await client.callTool({ name: 'fingerprint', arguments: {} }));
  await client.close();
  return fingerprint;
}

test('a task waits, and nothing of a server is in it', async () => {
  await waiting();
  assert.equal((await runners()).length, 1);
  assert.deepEqual(await runnersOfServers(), []);
});

for (const user of ['ada', 'grace']) {
  test(`the first call of ${user} is answered by the task that waited, and another waits then`, async (t) => {
    const task = await waiting();
    const taken = servers.map((s) => s.runner);
    const [runner, ...more] = (await runners()).filter((pid) => !taken.includes(pid));
    assert.deepEqual(more, []);
    const fingerprint = await firstCall(t, user);
    assert.deepEqual(ids('warm task assigned'), [...servers.map((s) => s.task), task]);
    assert.deepEqual((await runnersOfServers()).sort(), [...taken, runner].sort());
    servers.push({ task, runner, fingerprint });
    const next = await waiting();
    assert.ok(!servers.some((s) => s.task === next));
  });
}

test('each has a task and a token of their own', () => {
  for (const what of ['task', 'runner', 'fingerprint']) assert.equal(new Set(servers.map((s) => s[what])).size, 2, what);
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
