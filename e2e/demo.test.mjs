// The first minute: a fresh machine, the demo provider, no account anywhere.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser, newPerson } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { atDemo, connectionId, mcpClient, textOf, toProvider } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { Witness } from './fixtures/witness.mjs';

let app, browser, witness;

before(async () => {
  app = await prepareLanyard();
  await app.start();
  witness = new Witness(app);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await app?.remove();
});

// person runs a journey in a browser of its own and holds it to the pages' own
// policies at the end.
async function person(options, journey) {
  const { context, page } = await newPerson(browser, options);
  witness.watch(context);
  try {
    await journey(page);
    // The console also notes answers that are no success: a server that is still
    // starting (503), a person who said no (403).
    assert.deepEqual(page.complaints.filter((c) => !/with a status of (403|503)/.test(c)), []);
  } finally {
    await context.close();
  }
}

async function connected(page, how) {
  await toProvider(page, app, 'Demo notes');
  await atDemo(page, how);
  return connectionId(page, app);
}

// tool runs a tool by the form on the connection's page.
async function tool(page, name, fields = {}) {
  const entry = page.locator('details.tool', { has: page.locator('summary code', { hasText: new RegExp(`^${name}$`) }) });
  if (!(await entry.evaluate((e) => e.open))) await entry.locator('summary').first().click();
  for (const [label, value] of Object.entries(fields)) await entry.getByLabel(label).fill(value);
  await entry.getByRole('button', { name: `Run ${name}` }).click();
  const result = page.locator('#result');
  await result.waitFor();
  assert.equal(await result.locator('code').innerText(), name);
  return result;
}

async function disconnect(page) {
  await page.getByText('Disconnect…').click();
  await page.getByRole('button', { name: /^Disconnect / }).click();
  await page.getByRole('heading', { name: 'Disconnected' }).waitFor();
}

test('connect, use by an MCP client and from the page, rename, disconnect', () => person({}, async (page) => {
  const id = await connected(page);
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'ada@demo.example');
  assert.equal(await page.locator('.status').innerText(), 'Connected');

  // The page asks for the tools by itself while the server starts.
  await page.locator('details.tool').first().waitFor({ timeout: 60_000 });
  assert.deepEqual(await page.locator('details.tool > summary > code').allInnerTexts(), ['add_note', 'delete_note', 'list_notes', 'whoami']);

  await page.getByRole('button', { name: 'Make a token and configuration' }).click();
  const token = await page.locator('#new-token').innerText();
  const url = await page.locator('#mcp-url').innerText();
  assert.match(token, /^lyt_[\w-]{43}$/);
  for (let i = 0; i < 4; i++) {
    const config = await page.locator(`#config-${i}`).textContent();
    assert.ok(config.includes(token) && config.includes(url), `configuration ${i} is not whole`);
  }

  const client = await mcpClient(url, token);
  assert.deepEqual((await client.listTools()).tools.map((t) => t.name).sort(), ['add_note', 'delete_note', 'list_notes', 'whoami']);
  assert.match(textOf(await client.callTool({ name: 'add_note', arguments: { text: 'from the client' } })), /^Added note/);

  const list = await tool(page, 'list_notes');
  assert.match(await list.innerText(), /from the client/);
  const added = await tool(page, 'add_note', { text: 'from the page\nin <b>two</b> lines' });
  assert.match(await added.innerText(), /Added note/);
  assert.match(textOf(await client.callTool({ name: 'list_notes', arguments: {} })), /from the page\nin <b>two<\/b> lines/);
  assert.match(await (await tool(page, 'list_notes')).innerText(), /in <b>two<\/b> lines/); // shown, not rendered

  await page.goto(`${app.url}/mcp/connections/${id}`);
  assert.equal(await page.locator('#new-token').count(), 0, 'a token is shown once');
  await page.getByLabel('Name').fill('My <i>notes</i>');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { level: 1, name: 'My <i>notes</i>' }).waitFor();

  await disconnect(page);
  await page.getByText('The provider has ended the access').waitFor();
  await assert.rejects(client.callTool({ name: 'list_notes', arguments: {} }), /401|invalid_token|not valid/);
  await client.close();
  await page.goto(`${app.url}/mcp/servers`);
  assert.equal(await page.locator('.row').count(), 0);
}));

test('what was not granted is said with its reason, and its tools fail in words', () => person({}, async (page) => {
  await connectedWithout(page, 'notes.write');
  const missing = page.locator('.missing');
  assert.match(await missing.innerText(), /Not granted[\s\S]*Add and delete notes/);
  await page.getByRole('link', { name: 'Continue here' }).click();
  const id = await connectionId(page, app);
  assert.match(await page.locator('.missing').innerText(), /Add and delete notes/);
  const { body } = await app.api('GET', `/api/v1/connections/${id}`);
  assert.deepEqual(body.scopes.sort(), ['notes.read', 'profile']);
  await page.locator('details.tool').first().waitFor({ timeout: 60_000 });
  const result = await tool(page, 'add_note', { text: 'no' });
  assert.match(await result.getAttribute('class'), /result-error/);
  assert.match(await result.innerText(), /insufficient_scope|notes\.write/);
  await disconnect(page);
}));

async function connectedWithout(page, scope) {
  await toProvider(page, app, 'Demo notes');
  await atDemo(page, { without: [scope] });
  await page.getByRole('heading', { name: /is connected/ }).waitFor();
}

test('no at the provider, and no on our own page, are ordinary ends', () => person({}, async (page) => {
  await toProvider(page, app, 'Demo notes');
  await atDemo(page, { decision: 'Deny' });
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  assert.match(await page.locator('.code').innerText(), /access_denied/);
  assert.match(await page.locator('.what-next').innerText(), /Nothing was changed/);

  await page.getByRole('link', { name: 'Try again' }).click();
  await page.getByRole('button', { name: /^Connect Demo notes$/ }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
}));

test('two accounts stand beside each other, and one account is not connected twice', () => person({}, async (page) => {
  const ada = await connected(page);
  const grace = await connected(page, { account: 'grace' });
  assert.notEqual(grace, ada);
  assert.equal(await connected(page), ada);
  await page.goto(`${app.url}/mcp/servers`);
  assert.deepEqual((await page.locator('.row-label').allInnerTexts()).sort(), ['ada@demo.example', 'grace@demo.example']);
  for (const id of [ada, grace]) {
    const { body } = await app.api('DELETE', `/api/v1/connections/${id}`);
    assert.equal(body.revoked, 'provider');
  }
}));

test('the whole journey without JavaScript', () => person({ javascript: false }, async (page) => {
  const id = await connected(page);
  assert.equal(await page.locator('details.tool').count(), 4); // known before the server runs
  assert.match(await (await tool(page, 'add_note', { text: 'by hand' })).innerText(), /Added note/);
  assert.match(await (await tool(page, 'list_notes')).innerText(), /by hand/);
  await page.goto(`${app.url}/mcp/connections/${id}`);
  await page.getByRole('button', { name: 'Make a token and configuration' }).click();
  assert.match(await page.locator('#new-token').innerText(), /^lyt_/);
  await page.getByRole('button', { name: /^Revoke/ }).click();
  await page.waitForURL(`${app.url}/mcp/connections/${id}`);
  assert.equal(await page.getByRole('button', { name: /^Revoke/ }).count(), 0);
  await disconnect(page);
}));

test('the connect by keyboard alone', () => person({}, async (page) => {
  await page.goto(`${app.url}/mcp/servers`);
  await press(page, /^Connect Demo notes$/);
  await page.waitForURL(`${app.url}/c/*`);
  await press(page, /^Continue to /);
  await page.waitForURL((url) => url.origin !== app.url);
  await press(page, /^Allow$/);
  const id = await connectionId(page, app);
  await app.api('DELETE', `/api/v1/connections/${id}`);
}));

// press moves on with Tab until a button of that name has the focus, and the
// focus is to be seen; then Enter.
async function press(page, name) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const style = getComputedStyle(e);
      return { tag: e.tagName, text: e.textContent.trim().replace(/\s+/g, ' '), seen: style.outlineStyle !== 'none' || style.boxShadow !== 'none' };
    });
    if (at.tag !== 'BUTTON' || !name.test(at.text)) continue;
    assert.ok(at.seen, `the focus on ${at.text} cannot be seen`);
    await page.keyboard.press('Enter');
    return;
  }
  assert.fail(`Tab does not lead to ${name}`);
}

test('nothing of all this leaked', () => assertNothingLeaked({ app, witness }));
