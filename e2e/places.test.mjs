// A grant for several sites: the person picks one of them afterwards, on our page,
// and the server is started with that one. On one machine, and in a deployment.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { screenshot, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { echoServer, engineScopes, startEngine } from './fixtures/engine.mjs';
import { connectionId, consent, expire, mcpClient, mint, textOf, toProvider } from './fixtures/journey.mjs';
import { flaws } from './fixtures/looks.mjs';
import { until } from './fixtures/wait.mjs';

const server = 'Drawing office';
const accessTTL = 20; // seconds; renewed at half of it
const sites = [['site-1', 'Engine', 'engine'], ['site-2', 'Weaving mill, with all its looms and everything that is woven there', 'weaving-mill-of-the-analytical-society']]
  .map(([id, name, host]) => ({ id, name, url: `https://${host}.drawings.test` }));
const label = (site) => `ada@example.test · ${new URL(site.url).host}`;
let engine, app, auth, resources, client, second, done;
let granted = sites;

before(async () => {
  resources = createServer(async (req, res) => { // which sites a token is for, and the page of an application
    if (req.url.startsWith('/done?')) return void res.end('Welcome back');
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const accepted = await auth.isCurrent(token);
    res.writeHead(accepted ? 200 : 401, { 'content-type': 'application/json' });
    res.end(JSON.stringify(accepted ? granted : { error: 'unauthorized' }));
  }).listen(0, '127.0.0.1');
  await once(resources, 'listening');
  const theirs = `http://127.0.0.1:${resources.address().port}`;
  done = `${theirs}/done`;
  const discovery = {
    request: { url: `${theirs}/accessible-resources` },
    kind: 'site', id: 'id', label: 'url', name: 'name', metadata: { site_id: 'id' },
  };
  const drawings = JSON.stringify({
    name: 'drawings', display_name: server, description: 'Tells its site.', auth_type: 'oauth', oauth_service: 'drawings',
    oauth_scopes: Object.entries(engineScopes).map(([scope, why]) => ({ scope, why })),
    oauth_to_env_mapping: { access_token: 'ENGINE_TOKEN', site_id: 'ENGINE_SITE' },
    server: { registry: 'command', command: [process.execPath, echoServer] }, rotation: 'restart',
  });
  engine = await startEngine({ servers: { drawings }, providers: { drawings: { display_name: 'Drawings', discovery } }, accessTTL, env: { LANYARD_RETURN_URLS: done } });
  ({ app, auth } = engine);
});

after(async () => {
  await client?.close();
  await engine?.close();
  resources?.closeAllConnections();
  resources?.close();
});

// toPicker grants access, and ends on the page that lists the sites.
async function toPicker(page, account = 'ada') {
  await toProvider(page, app, server);
  await signIn(page, { account });
  await page.waitForURL(`${app.url}/mcp/oauth/places/*`);
}

async function pick(page, site) {
  await page.getByLabel(site.name).check();
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  return connectionId(page, app);
}

const connection = async (id) => (await app.api('GET', `/api/v1/connections/${id}`)).body;
const connected = async () => (await app.api('GET', '/api/v1/connections?user_id=me&server=drawings')).body.connections.filter((c) => c.status === 'connected');
const call = async (name) => textOf(await client.callTool({ name, arguments: {} }));

test('who picks none gives the grant back, and so does who never answers', async () => {
  const { page, context } = await engine.person();
  for (const end of ['cancel', 'silence']) {
    await toPicker(page, 'grace');
    const [[, token]] = Object.entries(auth.secrets()).filter(([name]) => name.startsWith('RefreshToken') && name.endsWith('grace')).slice(-1);
    assert.equal((await auth.introspect(token)).active, true);
    if (end === 'cancel') {
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
    } else {
      const { connections } = (await app.api('GET', '/api/v1/connections?user_id=me&server=drawings')).body;
      assert.deepEqual(connections.map((c) => c.status), ['pending']);
      await expire(app, 'confirmation', connections[0].id);
      await page.getByLabel(sites[0].name).check();
      await page.getByRole('button', { name: 'Connect', exact: true }).click();
      await page.getByRole('heading', { name: 'This took too long' }).waitFor();
    }
    await until(`after ${end} the grant is revoked`, async () => !(await auth.introspect(token)).active, { timeout: 120_000 });
  }
  await until('nothing is left', async () => (await app.api('GET', '/api/v1/connections?user_id=me&server=drawings')).body.connections.length === 0, { timeout: 120_000 });
  await context.close();
});

test('the second of two is picked, and the server works with that one', async () => {
  const { page, context } = await engine.person();
  const other = await engine.person();
  const exchanged = auth.count('authorization_code');
  await toPicker(page);
  const picker = page.url();

  await page.getByRole('button', { name: 'Connect', exact: true }).click(); // nothing is picked yet
  assert.equal(page.url(), picker);
  await page.reload();
  assert.equal(await page.getByRole('radio', { checked: true }).count(), 0);
  await other.page.goto(picker);
  await other.page.getByRole('heading', { name: 'This was started in another browser' }).waitFor();

  await page.keyboard.press('Tab');
  for (let i = 0; i < 10 && await page.evaluate(() => document.activeElement.type) !== 'radio'; i++) await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  second = await connectionId(page, app);
  assert.equal((await connection(second)).label, label(sites[1]));
  assert.equal(auth.count('authorization_code'), exchanged + 1, 'no second trip');

  const { url, token } = await mint(app, second);
  client = await mcpClient(url, token);
  await until('the server runs', async () => (await client.listTools()).tools.length === 2, { timeout: 60_000 });
  assert.equal(await call('site'), 'site-2');
  await page.goto(picker); // Back: it leads to where it ended
  assert.equal(await connectionId(page, app), second);
  assert.deepEqual(page.complaints, []);
  await context.close();
  await other.context.close();
});

test('renewed, it is the same site', async () => {
  const before = await call('fingerprint');
  await until('the server has another token', async () => await call('fingerprint') !== before, { timeout: 90_000, every: 500 });
  assert.equal(await call('site'), 'site-2');
});

test('without scripts: the other site is a connection of its own, and one that is there is found again', async () => {
  const { page, context } = await engine.person({ javascript: false });
  await toPicker(page);
  const first = await pick(page, sites[0]);
  assert.notEqual(first, second);
  assert.deepEqual((await connected()).map((c) => c.label).sort(), [label(sites[0]), label(sites[1])].sort());

  await toPicker(page);
  assert.equal(await pick(page, sites[1]), second);
  assert.equal((await connected()).length, 2);
  await context.close();
  const before = await call('fingerprint');
  await until('the connection is renewed with what was granted last', async () => await call('fingerprint') !== before, { timeout: 90_000, every: 500 });
  assert.equal(await call('site'), 'site-2');
});

test('reconnecting keeps the site, and asks once it is not granted any more', async () => {
  const { page, context } = await engine.person();
  const reconnect = async () => {
    const { body } = await app.api('POST', '/api/v1/mcp/servers/drawings/oauth/connect', { body: { user_id: 'me', connection_id: second } });
    await page.goto(body.authorization_url);
    await consent(page, app);
    await signIn(page);
    return body.flow_id;
  };
  const flow = await reconnect();
  await until('it is connected', async () => (await app.api('GET', `/api/v1/flows/${flow}`)).body.status !== 'exchanging');
  const { status, connection_id } = (await app.api('GET', `/api/v1/flows/${flow}`)).body;
  assert.equal(connection_id, second);
  if (status === 'pending') await app.api('POST', `/api/v1/flows/${flow}/confirm`, { body: { user_id: 'me' } });
  assert.equal((await app.api('GET', `/api/v1/flows/${flow}`)).body.status, 'connected');
  assert.equal(await call('site'), 'site-2');
  await page.goto('about:blank');

  granted = sites.slice(0, 1);
  await reconnect();
  await page.waitForURL(`${app.url}/mcp/oauth/places/*`);
  await page.getByText(new URL(sites[1].url).host).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  granted = sites;
  assert.equal((await connection(second)).label, label(sites[1]));
  await context.close();
});

test('from an application, and back to it', async () => {
  const { page, context } = await engine.person();
  const { body } = await app.api('POST', '/api/v1/mcp/servers/drawings/oauth/connect', { body: { user_id: 'me', return_url: done } });
  await page.goto(body.authorization_url);
  await consent(page, app);
  await signIn(page, { account: 'grace' });
  await page.waitForURL(`${app.url}/mcp/oauth/places/*`);
  const { body: waits } = await app.api('GET', `/api/v1/flows/${body.flow_id}`);
  assert.deepEqual([waits.status, waits.pick_url], ['picking', page.url()]);
  await page.getByLabel(sites[1].name).check();
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await page.waitForURL(`${done}?*`);
  assert.deepEqual(page.complaints.filter((c) => c.includes('Content Security Policy')), []);
  await context.close();
});

for (const [name, options] of [
  ['places', { viewport: { width: 1280, height: 800 } }],
  ['places-dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
  ['places-narrow', { viewport: { width: 360, height: 740 } }],
]) {
  test(`the page looks right (${name})`, async () => {
    const { page, context } = await engine.person(options);
    await toPicker(page);
    await page.getByLabel(sites[1].name).check();
    await page.mouse.move(0, 0);
    await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))));
    assert.deepEqual(await flaws(page), []);
    await screenshot(page, name);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
    assert.deepEqual(page.complaints.filter((c) => !c.includes('403')), []);
    await context.close();
  });
}

test('nothing of all this leaked', () => assertNothingLeaked({ app, auth, witness: engine.witness }));
