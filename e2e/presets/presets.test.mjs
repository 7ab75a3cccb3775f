// Every server preset that is not a remote one, with its real package or as the part
// of Lanyard that it is: installed from its lock, tried, connected with what the
// person granted at the real authorization server, its list compared with the
// catalogue, called, renewed while it runs, called again.
// The upstream plays each service and accepts only the newest token of a grant.
//
//   E2E_PRESETS=notion,github   these alone
//   E2E_SERVERS_TABLE=write     docs/servers.md gets the figures of this run; the rows
//                               of servers that it leaves out stay

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { after, before, test } from 'node:test';
import { startAuthServer } from '../fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from '../fixtures/browser.mjs';
import { assertNothingLeaked } from '../fixtures/canary.mjs';
import { connectionId, mcpClient, mint, textOf, toProvider, tools } from '../fixtures/journey.mjs';
import { prepareLanyard } from '../fixtures/lanyard.mjs';
import { providerOverlay, slackProviderOverlay, slackTeam } from '../fixtures/overlay.mjs';
import { keepPackages, npmEnv, pipEnv, seedPackages } from '../fixtures/packages.mjs';
import { played, services } from '../fixtures/services.mjs';
import { startUpstream } from '../fixtures/upstream.mjs';
import { until } from '../fixtures/wait.mjs';
import { Witness } from '../fixtures/witness.mjs';
import { licenceOf, readPreset, writeTable } from './table.mjs';

const root = new URL('../../', import.meta.url);
const binary = process.env.E2E_LANYARD ?? fileURLToPath(new URL('bin/lanyard', root));
const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));
// accessTTL is in seconds; tokens are renewed at half of it. The library of one of
// the servers takes no token that ends within 225 seconds.
const slow = 'google-workspace';
const accessTTL = (scope) => (scope.includes('gmail.modify') && scope.includes('spreadsheets') ? 480 : 24);
const atOnce = 3; // servers at a time: most of it is waiting for a renewal

const all = (await readdir(new URL('presets/servers', root))).map((file) => file.replace('.yaml', '')).filter((name) => name !== 'demo');
const presets = Object.fromEntries(await Promise.all(all.map(async (name) => [name, await readPreset(name)])));
// What runs elsewhere cannot be started: remote-oauth.test.mjs has a stand-in for it.
const here = all.filter((name) => presets[name].registry !== 'remote');
const names = process.env.E2E_PRESETS?.split(',') ?? here;
// seen: by server, {tried, id, presented, proven}.
const seen = Object.fromEntries(names.map((name) => [name, {}]));

let app, auth, upstream, browser, witness, key, connecting, environment;

before(async () => {
  app = await prepareLanyard();
  const scopes = names.flatMap((name) => presets[name].scopes);
  auth = await startAuthServer({ redirectUris: [app.redirectUri], scopes, accessTTL, tokenExtras });
  key = `key-${auth.clientSecret.slice(0, 12)}`;
  upstream = await startUpstream(async (token) => token === key || auth.isCurrent(token), played);
  for (const id of new Set(names.map((name) => presets[name].provider).filter(Boolean))) await app.writePreset(`providers/${id}.yaml`, provider(id));
  await seedPackages(app, names);
  environment = await environ();
  await app.start(environment);
  witness = new Witness(app);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  if (app) await keepPackages(app);
  await app?.remove();
  await upstream?.close();
  await auth?.close();
});

// environ sends the servers to the upstream, npm and pip to their registries.
async function environ() {
  const registry = await npmEnv();
  const index = await pipEnv();
  const caFile = join(dirname(upstream.caFile), 'bundle.pem');
  // npm and pip read the same variables, and fetch from the real world.
  const own = [upstream.caFile, process.env.NODE_EXTRA_CA_CERTS, process.env.PIP_CERT].filter(Boolean);
  const trusted = [...await Promise.all(own.map((file) => readFile(file, 'utf8'))), ...rootCertificates];
  await writeFile(caFile, trusted.join('\n'), { mode: 0o644 });
  const bundle = { NODE_EXTRA_CA_CERTS: caFile, REQUESTS_CA_BUNDLE: caFile, SSL_CERT_FILE: caFile };
  const servers = { ...upstream.googleEnv, ...upstream.pythonEnv, ...upstream.nodeEnv, ...bundle, NO_PROXY: ['127.0.0.1', 'localhost', registry.host, ...index.hosts].join() };
  const clients = Object.values(presets).filter((p) => p.provider).flatMap(({ provider: id }) => [[`${id.toUpperCase()}_CLIENT_ID`, auth.clientId], [`${id.toUpperCase()}_CLIENT_SECRET`, auth.clientSecret]]);
  return {
    ...registry.env, ...index.env, ...servers, ...Object.fromEntries(clients),
    LANYARD_SERVER_ENV: Object.keys(servers).join(','),
    LANYARD_SERVER_READ: [dirname(upstream.caFile), fixtures].join(':'),
  };
}

// provider is the overlay of a provider. What its servers need of a token's
// answer comes as the provider sends it.
function provider(id) {
  if (id === 'slack') return slackProviderOverlay(auth);
  if (id === 'gitlab') return providerOverlay(id, auth, { parameters: { host: { source: 'client', default: 'gitlab.com', pattern: String.raw`^gitlab\.com$` } } });
  if (id !== 'atlassian') return providerOverlay(id, auth);
  const url = `${upstream.url}/host/api.atlassian.com/oauth/token/accessible-resources`;
  return providerOverlay(id, auth, { discovery: { request: { url }, kind: 'site', id: 'id', label: 'url', metadata: { cloud_id: 'id' } } });
}

// tokenExtras makes an answer Slack's: of a user's token alone, it holds that one
// in its place, while renewals have theirs at the top.
function tokenExtras(account, body, grantType) {
  if (connecting !== 'slack-user' || grantType !== 'authorization_code') return slackTeam;
  const { access_token, refresh_token, expires_in } = body;
  const scope = presets['slack-user'].scopes.join(' ');
  for (const field of ['access_token', 'refresh_token', 'expires_in', 'id_token', 'scope']) delete body[field];
  return { ...slackTeam, authed_user: { id: account, token_type: 'user', access_token, refresh_token, expires_in, scope } };
}

// call makes the one call that shows which token a server presents.
async function call(name) {
  const { tool, args, good } = services[name];
  const text = textOf(await seen[name].client.callTool({ name: tool, arguments: args }));
  seen[name].said = text;
  return text.includes(good);
}

// presented are the tokens of the connection's that its service accepted.
const presented = (name) => upstream.calls.filter((c) => c.path === services[name].path && c.accepted && seen[name].owns(c.token)).map((c) => c.token);

const catalogue = async (name) => JSON.parse(await readFile(new URL(`presets/catalogues/${name}.json`, root), 'utf8'));

async function tried(name) {
  const env = { PATH: process.env.PATH, HOME: app.root, LANYARD_DATA: app.data, LANYARD_PRESETS: app.overlay, ...environment };
  const { stdout } = await promisify(execFile)(binary, ['presets', 'try', name, '--json'], { env, cwd: app.root, timeout: 280_000 });
  return JSON.parse(stdout);
}

// everything goes through `names`, a few at a time, and fails with what failed.
async function everything(of, width, work) {
  const left = [...of];
  const failed = [];
  await Promise.all(Array.from({ length: width }, async () => {
    for (let name = left.shift(); name; name = left.shift()) await work(name).catch((err) => failed.push(`${name}: ${err.message}\n${seen[name].said ?? ''}\n${asked(name)}`));
  }));
  assert.deepEqual(failed, []);
}

// asked are the last calls to a server's service, for whoever reads a failure.
const asked = (name) => upstream.calls.filter((c) => !services[name].host || c.host === services[name].host).slice(-4).map((c) => `${c.host}${c.path} ${c.accepted}`).join(', ');

test('each is installed from its lock if it is a package, starts with credentials that open nothing, and lists what its catalogue says', { timeout: 1_800_000 }, async () => {
  await everything(names, 1, async (name) => {
    seen[name].tried = await tried(name);
    if (presets[name].package) seen[name].licence = await licenceOf(join(app.data, 'packages'), name, presets[name]);
    const { tools: known, initialized } = await catalogue(name);
    Object.assign(seen[name], { known, version: initialized.serverInfo.version });
    assert.deepEqual(seen[name].tried.tools, seen[name].known.map((t) => t.name), `lanyard presets catalogue ${name} makes it anew`);
  });
  await keepPackages(app);
});

test('each can be connected', { timeout: 600_000 }, async () => {
  const { page, context } = await newPerson(browser);
  witness.watch(context);
  await everything(names, 1, async (name) => {
    if (presets[name].authType === 'api_key') return paste(name);
    connecting = name;
    const before = new Set(auth.grants('ada').map((g) => g.grantId));
    await toProvider(page, app, presets[name].displayName);
    await signIn(page);
    seen[name].id = await connectionId(page, app).catch(async (err) => { throw new Error(`${err.message} ${page.url().split('?')[0]}: ${await page.locator('main').innerText()}`); });
    const grant = auth.grants('ada').find((g) => !before.has(g.grantId)).grantId;
    seen[name].owns = (token) => auth.grantOf(token) === grant;
    return undefined;
  });
  await context.close();
});

// paste is what a person does whose server takes a key.
async function paste(name) {
  const values = Object.fromEntries(presets[name].envValues.map((v) => [v, key]));
  const { status, body } = await app.api('POST', `/api/v1/mcp/servers/${name}/connect`, { body: { user_id: 'me', env_values: values } });
  assert.ok(status < 300, JSON.stringify(body));
  Object.assign(seen[name], { id: body.id ?? body.connection?.id, owns: (token) => token === key });
}

test('each calls its service with what was granted, and after a renewal with what was renewed', { timeout: 1_800_000 }, async () => {
  await everything([...names].sort((a, b) => (b === slow) - (a === slow)), atOnce, async (name) => {
    const mine = seen[name];
    const { url, token } = await mint(app, mine.id);
    mine.client = await mcpClient(url, token);
    assert.deepEqual((await tools(app, mine.id)).names, mine.known.map((t) => t.name));
    await until(`${name} answers`, () => call(name), { timeout: 90_000, every: 500 });
    const [first] = presented(name);
    assert.ok(first, 'its service was called');
    mine.proven = 'called';
    if (presets[name].authType === 'oauth') {
      await until(`${name} presents a renewed token`, async () => await call(name) && presented(name).at(-1) !== first, { timeout: name === slow ? 400_000 : 120_000, every: 1000 });
      assert.equal(await auth.isCurrent(first), false);
      mine.proven = 'called, renewed, called again';
    }
    await mine.client.close();
    await app.api('DELETE', `/api/v1/connections/${mine.id}`);
  });
  assert.deepEqual(upstream.refusedHosts, [], 'calls to places that are not played');
});

test('nothing of all this leaked', () => assertNothingLeaked({ app, auth, witness }));

test('the table of servers has what was seen of each', async () => {
  if (process.env.E2E_SERVERS_TABLE !== 'write') return;
  assert.deepEqual(names.filter((name) => !seen[name].proven), [], 'a row is of what was proven');
  await writeTable(here, presets, seen);
});
