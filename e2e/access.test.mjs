// The pages by which a person lets an MCP client in, as people see them: wide and
// narrow, light and dark, with and without scripts. With E2E_SCREENSHOTS set,
// their pictures are kept.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser, newPerson, screenshot } from './fixtures/browser.mjs';
import { makeCA } from './fixtures/ca.mjs';
import { atDemo } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { flaws } from './fixtures/looks.mjs';

const keyed = `name: keyed
display_name: Weather
description: What the weather is like.
auth_type: api_key
env_values:
  - {name: WEATHER_KEY, label: API key, secret: true, help_url: "https://weather.example/keys"}
server: {registry: command, command: [/bin/true]}
rotation: none
`;
const web = 'https://client.example/callback';
const loopback = 'http://127.0.0.1/callback';
const program = 'cursor://anysphere.cursor-mcp/oauth/callback';
let app, browser, dir, asked;
const servers = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'e2e-access-'));
  const { key, cert } = await makeCA(dir, ['client.example']);
  for (const server of [createHttps({ key, cert }, client), createHttp(client)]) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
  }
  const [onTheWeb, onThisMachine] = servers.map((s) => `127.0.0.1:${s.address().port}`);
  asked = `http://${onThisMachine}/callback`;
  app = await prepareLanyard({ presets: { 'servers/keyed.yaml': keyed } });
  await app.start();
  browser = await launchBrowser({ hosts: { 'client.example': onTheWeb } });
});

after(async () => {
  await browser?.close();
  await app?.remove();
  for (const server of servers) server.close();
  await rm(dir, { recursive: true, force: true });
});

// enter is a client that the operator has entered.
async function enter(name, redirect) {
  const { status, body } = await app.api('POST', '/api/v1/oauth-clients', { body: { name, redirect_uris: [redirect] } });
  assert.equal(status, 201, JSON.stringify(body));
  return body.client_id;
}

// registers is one that has registered itself.
async function registers(name, redirect, uri) {
  const { status, body } = await app.api('POST', '/oauth/register', { key: null, body: { client_name: name, client_uri: uri, redirect_uris: [redirect], token_endpoint_auth_method: 'none' } });
  assert.equal(status, 201, JSON.stringify(body));
  return body.client_id;
}

const verifier = randomBytes(32).toString('base64url');

function asks(client, redirect, server) {
  return `${app.url}/oauth/authorize?${new URLSearchParams({
    response_type: 'code', client_id: client, redirect_uri: redirect, state: 'the-state', resource: `${app.url}/mcp${server && '/'}${server}`,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  })}`;
}

// client answers at a redirect URI, and notes from where the browser says it came.
const referrers = [];
function client(req, res) {
  if (req.url.startsWith('/callback')) referrers.push(req.headers.referer);
  res.setHeader('content-type', 'text/html');
  res.end('<!doctype html><title>The client</title><link rel="icon" href="data:,">You can close this.');
}

async function shown(page, name) {
  await page.mouse.move(0, 0);
  await page.evaluate(() => Promise.all(document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity).map((a) => a.finished.catch(() => {}))));
  assert.deepEqual(await flaws(page), [], name);
  await screenshot(page, name);
}

// redeem takes the code to the token endpoint.
async function redeem(client, redirect, address) {
  const q = new URL(address).searchParams;
  assert.equal(q.get('state'), 'the-state');
  assert.equal(q.get('iss'), app.url);
  const res = await fetch(`${app.url}/oauth/token`, { method: 'POST', body: new URLSearchParams({
    grant_type: 'authorization_code', code: q.get('code'), client_id: client, redirect_uri: redirect, code_verifier: verifier }) });
  const body = await res.json();
  assert.equal(res.status, 200, JSON.stringify(body));
  return body;
}

for (const [suffix, options] of [
  ['', { viewport: { width: 1280, height: 800 } }],
  ['-dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
  ['-narrow', { viewport: { width: 390, height: 844 } }],
  ['-narrow-dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }],
]) {
  test(`the pages look right (${suffix.slice(1) || 'wide'})`, async () => {
    const { page, context } = await newPerson(browser, { anyCertificate: true, ...options });
    try {
      const client = await enter('Notes reader', web);
      await page.goto(asks(client, web, 'demo'));
      await page.getByRole('heading', { name: 'Let Notes reader use Demo notes?' }).waitFor();
      await shown(page, `access${suffix}`);
      await page.getByRole('button', { name: 'Continue to Demo provider' }).click();
      await page.waitForURL((url) => url.origin !== app.url);
      await page.goBack();
      await page.getByRole('heading', { name: 'Not finished yet' }).waitFor();
      await shown(page, `access-wait${suffix}`);
      await page.getByRole('link', { name: 'Start again' }).click();
      await page.getByRole('button', { name: 'Continue to Demo provider' }).click();
      await page.waitForURL((url) => url.origin !== app.url);
      await atDemo(page, { decision: 'Deny' });
      await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
      await shown(page, `access-denied${suffix}`);
      await page.getByRole('link', { name: 'Try again' }).click();
      await page.getByRole('button', { name: 'Continue to Demo provider' }).click();
      await page.waitForURL((url) => url.origin !== app.url);
      await atDemo(page);
      await page.waitForURL('https://client.example/callback?*');
      assert.equal(referrers.at(-1), undefined, 'the client learns from where');
      const tokens = await redeem(client, web, page.url());
      assert.match(tokens.access_token, /^lat_/);

      const unknown = await registers('Completely Trustworthy Assistant by Demo Provider, Inc. (official)', loopback, 'https://trustworthy.example');
      await page.goto(asks(unknown, asked, 'demo'));
      await page.getByText('registered itself').waitFor();
      await shown(page, `access-program${suffix}`);
      await page.getByRole('button', { name: 'Allow' }).click();
      await page.waitForURL((url) => url.href.startsWith(`${asked}?`));
      await page.goto(asks(unknown, asked, ''));
      await page.getByRole('heading', { name: /all your servers/ }).waitFor();
      await shown(page, `access-all${suffix}`);
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.waitForURL((url) => url.href.startsWith(`${asked}?error=access_denied`));

      await page.goto(asks(await enter('Cursor', program), program, 'keyed'));
      await page.getByRole('button', { name: 'Allow' }).click();
      await page.getByLabel('API key').waitFor();
      await shown(page, `access-key${suffix}`);
      await page.getByLabel('API key').fill('k3y');
      await page.getByRole('button', { name: 'Save and continue' }).click();
      await page.getByRole('heading', { name: 'Back to Cursor' }).waitFor();
      await shown(page, `access-leaving${suffix}`);
      assert.match(await page.getByRole('link', { name: 'Continue' }).getAttribute('href'), /^cursor:\/\/anysphere\.cursor-mcp\/oauth\/callback\?code=lac_/);

      await page.goto(asks('cli_nobody', web, 'demo'));
      await page.getByRole('heading', { name: 'This sign-in cannot go on' }).waitFor();
      await shown(page, `access-error${suffix}`);
      assert.deepEqual(page.complaints.filter((c) => !/status of 4\d\d/.test(c)), []);
    } finally {
      await context.close();
      const { body } = await app.api('GET', '/api/v1/connections?user_id=me');
      for (const c of body.connections) await app.api('DELETE', `/api/v1/connections/${c.id}`);
    }
  });
}

test('no script is needed, and the keyboard is enough', async () => {
  const { page, context } = await newPerson(browser, { anyCertificate: true, javascript: false });
  try {
    for (const [name, redirect, at] of [['On the web', web, web], ['A program', loopback, asked]]) {
      const client = await enter(name, redirect);
      await page.goto(asks(client, at, 'demo'));
      const button = page.getByRole('button', { name: /^(Continue to Demo provider|Allow)$/ });
      const connects = /Continue/.test(await button.textContent());
      await button.focus();
      await page.keyboard.press('Enter');
      await page.locator('a[data-follow]').click();
      if (connects) await atDemo(page);
      await page.waitForURL((url) => url.href.startsWith(`${at}?`));
      await redeem(client, at, page.url());
    }
    const client = await enter('Cursor', program);
    await page.goto(asks(client, program, 'demo'));
    await page.getByRole('button', { name: 'Allow' }).click();
    await redeem(client, program, await page.locator('a[data-follow]').getAttribute('href'));
  } finally {
    await context.close();
  }
});
