// A SaaS team's side: connect links, popups from its own page, and its word on
// who finished. Its site is another origin, with a backend that alone has the
// API key.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { heldCallback, startEngine } from './fixtures/engine.mjs';
import { consent, expire } from './fixtures/journey.mjs';
import { startTenant } from './fixtures/tenant.mjs';
import { until } from './fixtures/wait.mjs';

let engine, app, auth, tenant;

before(async () => {
  tenant = await startTenant();
  engine = await startEngine({ env: { LANYARD_CONFIRM: 'on', LANYARD_RETURN_URLS: `${tenant.url}/` } });
  ({ app, auth } = engine);
  tenant.app = app;
});

after(async () => {
  await engine?.close();
  await tenant?.close();
});

const code = async (page) => (await page.locator('.code').innerText()).replace('Code: ', '');

async function link(body) {
  const { status, body: made } = await app.api('POST', '/api/v1/links', { body });
  assert.equal(status, 201);
  return made;
}

async function start(body) {
  const { status, body: made } = await app.api('POST', '/api/v1/mcp/servers/engine/oauth/connect', { body });
  assert.equal(status, 200, JSON.stringify(made));
  return made;
}

const confirm = (id, user) => app.api('POST', `/api/v1/flows/${id}/confirm`, { body: { user_id: user } });
const look = async (id) => (await app.api('GET', `/api/v1/flows/${id}`)).body;

test('a link belongs to the browser that opens it first, and a preview is no browser', async () => {
  const { id, url } = await link({ user_id: 'ada', servers: ['engine'], return_url: `${tenant.url}/done` });
  assert.equal((await fetch(url)).status, 200); // a chat's preview
  const [first, second] = [await engine.person({ stranger: true }), await engine.person()];
  await first.page.goto(url);
  await first.page.waitForURL(`${app.url}/mcp/servers?server=engine`);
  assert.equal(await first.page.locator('article.card').count(), 1, 'the link is for one server');

  const res = await second.page.goto(url);
  assert.deepEqual([res.status(), await code(second.page)], [403, 'link_claimed']);
  assert.equal((await second.page.goto(`${app.url}/mcp/servers?server=engine`)).status(), 200);
  assert.doesNotMatch(await second.page.locator('header').innerText(), /ada/);

  await first.page.goto(url); // again, in the same browser
  await first.page.waitForURL(`${app.url}/mcp/servers?server=engine`);
  assert.equal((await app.api('GET', `/api/v1/links/${id}`)).body.claimed, true);

  await expire(app, 'link', id);
  assert.deepEqual([(await first.page.goto(url)).status(), await code(first.page)], [410, 'link_expired']);
  await app.api('DELETE', `/api/v1/links/${id}`);
  assert.deepEqual([(await first.page.goto(url)).status(), await code(first.page)], [404, 'link_unknown']);
  for (const { context } of [first, second]) await context.close();
});

test('by a link: pending until the backend has seen who came back', async () => {
  const { page, context } = await engine.person({ stranger: true });
  const { url } = await link({ user_id: 'ada', servers: ['engine'], return_url: `${tenant.url}/done` });
  await page.goto(url);
  await page.getByRole('button', { name: 'Connect Analytical engine' }).click();
  await page.waitForURL(`${app.url}/c/*`);
  await consent(page, app);
  await signIn(page);
  await page.waitForURL(`${tenant.url}/done?*`);
  const back = new URL(page.url()).searchParams;
  assert.deepEqual([...back.keys()].sort(), ['flow_id', 'status']);
  assert.equal(back.get('status'), 'pending');

  const flow = back.get('flow_id');
  const { connection_id: id } = await look(flow);
  const early = await app.api('GET', `/api/v1/connections/${id}/token`);
  assert.deepEqual([early.status, early.body.error], [409, 'connection_pending']);
  const wrong = await confirm(flow, 'mallory');
  assert.deepEqual([wrong.status, wrong.body.error], [403, 'flow_other_user']);
  assert.equal((await look(flow)).status, 'pending');

  assert.equal((await confirm(flow, 'ada')).status, 200);
  assert.equal((await confirm(flow, 'ada')).status, 200, 'a repeated confirmation');
  assert.equal((await look(flow)).status, 'connected');
  const { body } = await app.api('GET', `/api/v1/connections/${id}/token`);
  assert.equal((await auth.introspect(body.access_token)).active, true);
  assert.equal((await app.api('DELETE', `/api/v1/connections/${id}`)).body.revoked, 'provider');
  assert.equal((await auth.introspect(body.access_token)).active, false);
  await context.close();
});

test('what nobody confirms within ten minutes is revoked and gone', async () => {
  const { page, context } = await engine.person();
  const { flow_id: flow, authorization_url: url } = await start({ user_id: 'grace', return_url: `${tenant.url}/done` });
  await page.goto(url);
  await consent(page, app);
  await signIn(page, { account: 'grace' });
  await page.waitForURL(`${tenant.url}/done?*`);
  const { connection_id: id } = await look(flow);
  const [{ refreshToken }] = auth.grants('grace');
  assert.equal((await auth.introspect(refreshToken)).active, true);

  await expire(app, 'confirmation', id);
  assert.deepEqual((({ status, error }) => ({ status, error }))(await look(flow)), { status: 'failed', error: 'not_confirmed' });
  const late = await confirm(flow, 'grace');
  assert.deepEqual([late.status, late.body.error], [409, 'flow_not_pending']);
  await until('the sweep has revoked the grant', async () => !(await auth.introspect(refreshToken)).active);
  await until('the connection is gone', async () => (await app.api('GET', `/api/v1/connections/${id}`)).status === 404);
  await context.close();
});

test('in a popup from the tenant’s own page, which learns the end by asking its backend', async () => {
  const { page, context } = await engine.person();
  await page.goto(tenant.url);
  const opened = page.waitForEvent('popup');
  await page.getByRole('button', { name: 'Connect' }).click();
  const popup = await opened;
  popup.scripted = true;
  await consent(popup, app);
  const closed = popup.waitForEvent('close');
  await signIn(popup);
  await closed; // by itself
  await page.getByText('connected', { exact: true }).waitFor();
  assert.equal(page.url(), `${tenant.url}/`);
  assert.ok(tenant.confirmed > 0, 'the backend had nothing to confirm');
  assert.deepEqual(page.complaints, []);
  await context.close();
});

test('a popup that is blocked becomes the page itself, and comes back', async () => {
  const { page, context } = await engine.person({ popups: 'block' });
  await page.goto(tenant.url);
  await page.getByRole('button', { name: 'Connect' }).click();
  await consent(page, app);
  await signIn(page);
  await page.waitForURL(`${tenant.url}/done?*`);
  assert.equal(new URL(page.url()).searchParams.get('status'), 'pending');
  assert.equal((await confirm(new URL(page.url()).searchParams.get('flow_id'), tenant.user)).status, 200);
  await context.close();
});

test('a flow belongs to the browser that consented to it', async () => {
  const [first, second] = [await engine.person(), await engine.person()];
  const { authorization_url: url, flow_id: flow } = await start({ user_id: 'ada' });
  await first.page.goto(url);
  await consent(first.page, app);
  const res = await second.page.goto(url);
  assert.deepEqual([res.status(), await code(second.page)], [403, 'flow_other_browser']);
  assert.equal((await second.page.goto(`${app.url}/api/v1/flows/${flow}`)).status(), 404);
  for (const { context } of [first, second]) await context.close();
});

test('a front end that keeps the redirect gets the answer as JSON', async () => {
  const { page, context } = await engine.person();
  const { authorization_url: url, flow_id: flow, state } = await start({ user_id: 'ada' });
  assert.equal(state, flow, 'the OAuth state proper is nobody’s but the browser’s');
  await page.goto(url);
  await consent(page, app);
  const callback = await heldCallback(page, app, () => signIn(page));
  const res = await page.goto(`${app.url}/api/v1/mcp/oauth/callback${callback.search}`);
  const body = await res.json();
  assert.equal(res.status(), 200);
  assert.equal(body.success, true);
  assert.deepEqual(Object.keys(body.server).sort(), ['connected', 'name', 'tools_count']);
  assert.deepEqual([body.server.name, body.server.connected, body.status], ['engine', false, 'pending']);
  assert.match(body.connection_id, /^con_/);
  assert.match(body.token_id, /^set_/);
  assert.equal((await confirm(flow, 'ada')).body.status, 'connected');
  await context.close();
});

test('nobody is sent to an address that is not on the tenant’s list', async () => {
  for (const url of ['https://evil.example/', `${tenant.url}.evil.example/`, `${tenant.url}/../x`, 'javascript:alert(1)', `${tenant.url.replace('http', 'https')}/done`]) {
    const { status, body } = await app.api('POST', '/api/v1/links', { body: { user_id: 'ada', return_url: url } });
    assert.deepEqual([status, body.error], [400, 'return_url_not_allowed'], url);
  }
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
