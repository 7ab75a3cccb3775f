// The shipped presets with the real MCP servers: installed, started with what
// the person granted, called, renewed while they run. The tokens are those of
// the real authorization server; the upstream plays Google and Slack, and
// accepts only the newest token of each grant.

import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { startAuthServer } from './fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { connectionId, mcpClient, mint, textOf, tools, toProvider } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { providerOverlay, scopesOf, slackProviderOverlay, slackTeam } from './fixtures/overlay.mjs';
import { keepPackages, npmEnv, pipEnv, seedPackages, slowNpm } from './fixtures/packages.mjs';
import { processTree, scan } from './fixtures/procscan.mjs';
import { startUpstream } from './fixtures/upstream.mjs';
import { until } from './fixtures/wait.mjs';
import { Witness } from './fixtures/witness.mjs';
import { calls } from './servers/servers.mjs';

const names = { 'google-drive': 'Google Drive', 'google-calendar': 'Google Calendar', 'google-sheets': 'Google Sheets', slack: 'Slack' };
const fixtures = fileURLToPath(new URL('./fixtures', import.meta.url));
const accessTTL = 24; // seconds; renewed at half of it

let app, auth, upstream, browser, witness, npm;
// hosted: by server, {id, client}.
const hosted = {};

before(async () => {
  app = await prepareLanyard();
  const scopes = (await Promise.all(Object.keys(names).map(scopesOf))).flat();
  auth = await startAuthServer({ redirectUris: [app.redirectUri], scopes, accessTTL, tokenExtras: () => slackTeam });
  upstream = await startUpstream((token) => auth.isCurrent(token));
  await app.writePreset('providers/google.yaml', providerOverlay('google', auth));
  await app.writePreset('providers/slack.yaml', slackProviderOverlay(auth));
  await seedPackages(app, ['google-drive', 'google-calendar', 'google-sheets']); // slack is small, and installed each time
  npm = await slowNpm(app.root);
  await app.start({ ...await environment(), PATH: npm.path });
  witness = new Witness(app);
  browser = await launchBrowser();
});

after(async () => {
  await Promise.all(Object.values(hosted).map(({ client }) => client?.close()));
  await browser?.close();
  if (app) await keepPackages(app);
  await app?.remove();
  await upstream?.close();
  await auth?.close();
});

// environment sends the servers to the upstream, npm and pip to their registries.
async function environment() {
  const registry = await npmEnv();
  const index = await pipEnv();
  const caFile = join(dirname(upstream.caFile), 'bundle.pem');
  const own = process.env.NODE_EXTRA_CA_CERTS;
  await writeFile(caFile, (await readFile(upstream.caFile, 'utf8')) + (own ? await readFile(own, 'utf8') : ''), { mode: 0o644 });
  const servers = { ...upstream.googleEnv, ...upstream.nodeEnv, NODE_EXTRA_CA_CERTS: caFile, NO_PROXY: ['127.0.0.1', 'localhost', registry.host, ...index.hosts].join() };
  return {
    ...registry.env, ...index.env, ...servers,
    LANYARD_SERVER_ENV: Object.keys(servers).join(','),
    LANYARD_SERVER_READ: [dirname(upstream.caFile), fixtures].join(':'),
    GOOGLE_CLIENT_ID: auth.clientId, GOOGLE_CLIENT_SECRET: auth.clientSecret,
    SLACK_CLIENT_ID: auth.clientId, SLACK_CLIENT_SECRET: auth.clientSecret,
  };
}

// call makes the one call that shows which token a server presents.
async function call(name) {
  const { tool, args, good } = calls[name];
  const text = textOf(await hosted[name].client.callTool({ name: tool, arguments: args }));
  return { good: text.includes(good), text };
}

// presented are the upstream's last calls for one server's API.
const paths = { 'google-drive': '/drive/v3/files', 'google-calendar': '/calendar/v3/users/me/calendarList', 'google-sheets': '/v4/spreadsheets/sheet-1', slack: '/api/conversations.list' };
const presented = (name) => upstream.calls.filter((c) => c.path === paths[name]);

// catalogue is what a preset says that its server lists.
const catalogue = async (name) => JSON.parse(await readFile(new URL(`../presets/catalogues/${name}.json`, import.meta.url), 'utf8'));

// listed is the answer to a modern client's request.
async function listed(name, method) {
  const { url, token } = hosted[name].minted;
  const params = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } };
  const res = await fetch(url, {
    method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2026-07-28', 'mcp-method': method },
  });
  const { result, error } = await res.json();
  assert.equal(res.status, 200, JSON.stringify(error));
  return result;
}

test('connected with a click, its tools shown while nothing runs, and installed when it is needed', async () => {
  const { page, context } = await newPerson(browser);
  witness.watch(context);
  for (const [name, displayName] of Object.entries(names)) {
    await toProvider(page, app, displayName);
    await signIn(page);
    hosted[name] = { id: await connectionId(page, app) };
    assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'ada@example.test');
  }
  // The page that is open now is Slack's.
  await page.locator('details.tool', { hasText: calls.slack.tool }).waitFor();
  for (const name of Object.keys(names)) {
    hosted[name].minted = await mint(app, hosted[name].id);
    hosted[name].known = await catalogue(name);
  }
  assert.deepEqual((await listed('slack', 'tools/list')).tools, hosted.slack.known.tools); // which has it started
  const waiting = await until('who waits is told of the installation', async () => {
    const { status, body } = await app.api('GET', `/api/v1/connections/${hosted.slack.id}/tools?wait=0`);
    return status === 503 && /installing/.test(body.error_description) && body.error_description;
  }, { timeout: 60_000, every: 200 });
  assert.match(waiting, /installing @zencoderai\/slack-mcp-server/);
  await npm.release();
  await Promise.all(Object.keys(names).map(async (name) => {
    const found = await tools(app, hosted[name].id);
    assert.ok(found.names.includes(calls[name].tool), `${name} lists ${found.names}`);
  }));
  await context.close();
  await keepPackages(app);
});

test('each server lists what its preset says of it', async () => {
  for (const name of Object.keys(names)) {
    const { known } = hosted[name];
    assert.deepEqual((await listed(name, 'tools/list')).tools, known.tools, `presets/catalogues/${name}.json is not what the server lists: lanyard presets catalogue ${name}`);
    const { capabilities } = await listed(name, 'server/discover');
    assert.deepEqual(Object.keys(capabilities).sort(), Object.keys(known.initialized.capabilities).sort());
  }
});

test('an MCP client’s call reaches the provider with the person’s token', async () => {
  for (const name of Object.keys(names)) {
    const { url, token } = hosted[name].minted;
    hosted[name].client = await mcpClient(url, token);
    await until(`${name} answers`, async () => (await call(name)).good, { timeout: 60_000, every: 500 });
    hosted[name].first = presented(name).at(-1).token;
    assert.equal(auth.accountOf(hosted[name].first), 'ada');
  }
});

test('the task’s processes hold access tokens where they belong, and no other secret', async () => {
  const runners = (await app.processes()).filter((p) => p.command[1] === 'task');
  assert.equal(runners.length, Object.keys(names).length);
  const during = Promise.all(Object.keys(names).map(call));

  const issued = Object.entries(auth.secrets());
  const forbidden = Object.fromEntries(issued.filter(([label]) => !label.startsWith('AccessToken')));
  const dirs = [join(app.data, 'tasks')];
  const control = await scan({ secrets: forbidden, pids: [app.child.pid] });
  assert.ok(control.findings.some((f) => f.secret === 'client_secret'), 'the search does not find what is there');

  // Slack's server is replaced when its token is renewed: a look that a process
  // ended under is taken again. One task at a time: memory takes its seconds.
  const trees = [];
  for (const runner of runners) {
    trees.push(await until('a look at every process of a task', async () => {
      const tree = await processTree(runner.pid);
      const pids = tree.map((p) => p.pid);
      const never = await scan({ secrets: forbidden, pids, dirs, memory: true });
      assert.deepEqual(never.findings, []);
      const whole = tree.length > 1 && never.looked.processes === pids.length;
      return whole && never.unreadable.length === 0 && never.looked.memory > 1 << 20 && tree;
    }, { timeout: 60_000, every: 100 }));
  }
  // A server that is younger than its runner may all the same have a lower number.
  const isRunner = new Set(runners.map((r) => r.pid));
  const users = new Set(trees.flat().filter((p) => !isRunner.has(p.pid)).map((p) => p.uid));
  if (process.getuid() === 0) assert.equal(users.size, runners.length, 'each task’s server has a user of its own');

  // Tokens are renewed meanwhile: each look is for those of now. Wherever one
  // is found it has to belong, and both kinds of place have to be seen.
  await until('access tokens in an environment and in a file', async () => {
    const now = (await Promise.all(runners.map((r) => processTree(r.pid)))).flat().map((p) => p.pid);
    const servers = new Set(now.filter((pid) => !isRunner.has(pid)));
    const access = Object.fromEntries(Object.entries(auth.secrets()).filter(([label]) => label.startsWith('AccessToken')));
    const { findings } = await scan({ secrets: access, pids: now, dirs });
    for (const { where } of findings) {
      const environ = /^process (\d+) environ$/.exec(where);
      if (environ) {
        assert.ok(servers.has(Number(environ[1])), `${where} is not a server's`);
        continue;
      }
      const path = where.replace(/^process \d+ open file /, '');
      assert.ok(path.startsWith(dirs[0]), where);
      const { mode } = await stat(path).catch(() => ({ mode: 0o600 })); // replaced since
      assert.equal(mode & 0o077, 0, `${path} is open to others`);
    }
    // Slack has its token in its environment, Calendar in a file.
    return findings.some((f) => f.where.endsWith(' environ')) && findings.some((f) => f.where.startsWith(dirs[0]));
  }, { timeout: 60_000, every: 200 });
  await during;
});

test('renewed while it runs: the next call has the new token, and the old one is refused', async () => {
  await Promise.all(Object.keys(names).map(async (name) => {
    const old = hosted[name].first;
    const fresh = await until(`${name} presents a renewed token`, async () => {
      const { good } = await call(name);
      const last = presented(name).at(-1);
      return good && last.token !== old && last.accepted && last.token;
    }, { timeout: 90_000, every: 1000 });
    assert.equal(auth.accountOf(fresh), 'ada');
    assert.equal(await auth.isCurrent(old), false);
    const before = upstream.calls.length;
    await fetch(`${upstream.url}/host/slack.com/api/auth.test`, { headers: { authorization: `Bearer ${old}` } });
    assert.equal(upstream.calls.slice(before).find((c) => c.token === old)?.accepted, false);
  }));
  assert.ok(auth.count('refresh_token') >= Object.keys(names).length);
  assert.ok(auth.requests.every((r) => r.grantType !== 'refresh_token' || r.status === 200), 'a refresh token was spent twice');
  assert.deepEqual(upstream.refusedHosts, []);
});

test('nothing of all this leaked', () => assertNothingLeaked({ app, auth, witness }));
