// kill -9 in the middle of things, and a start on what is left.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser, newPerson } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { atDemo, connectionId, mcpClient, mint, textOf, toProvider, tools } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { until } from './fixtures/wait.mjs';
import { Witness } from './fixtures/witness.mjs';

let app, browser, person, witness;

before(async () => {
  app = await prepareLanyard({ env: { LANYARD_DEMO_ADDR: '' } });
  await app.start();
  witness = new Witness(app);
  browser = await launchBrowser();
  person = await newPerson(browser);
  witness.watch(person.context);
});

after(async () => {
  await browser?.close();
  await app?.remove();
});

const call = async (client, name, args = {}) => textOf(await client.callTool({ name, arguments: args }));

test('its tasks end by themselves, and everything else is there again', async () => {
  const { page } = person;
  await toProvider(page, app, 'Demo notes');
  await atDemo(page);
  const id = await connectionId(page, app);
  await tools(app, id);
  const { url, token } = await mint(app, id);
  const before = await mcpClient(url, token);
  await call(before, 'add_note', { text: 'before the crash' });
  const running = await app.processes();
  assert.deepEqual(running.map((p) => p.command[1]).sort(), ['demo-server', 'dev', 'task']);

  await app.kill9();
  await until('the task has ended by itself', async () => (await app.processes()).length === 0);
  await before.close().catch(() => {});

  await app.start();
  const { body } = await app.api('GET', `/api/v1/connections/${id}`);
  assert.deepEqual([body.status, body.label], ['connected', 'ada@demo.example']);
  await page.goto(`${app.url}/mcp/connections/${id}`); // the page session too
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'ada@demo.example');
  const again = await until('the MCP token is good for a new task', () => mcpClient(url, token).catch((err) => {
    if (/starting/i.test(err.message)) return undefined; // 503: ask again
    throw err;
  }), { timeout: 60_000 });
  assert.match(await call(again, 'list_notes'), /before the crash/);
  await call(again, 'add_note', { text: 'after the crash' });
  await again.close();
});

test('killed between the click and the provider’s answer, the flow goes on', async () => {
  const { page } = person;
  await toProvider(page, app, 'Demo notes');
  await app.kill9();
  await app.start();
  await page.reload(); // the provider's page; it died with the rest
  await atDemo(page, { account: 'grace' });
  await connectionId(page, app);
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'grace@demo.example');
});

test('stopped as by Ctrl-C, it leaves nothing behind', async () => {
  const { body } = await app.api('GET', '/api/v1/connections?user_id=me');
  await tools(app, body.connections[0].id);
  await app.stop();
  assert.deepEqual(await app.processes(), []);
  await app.start();
});

test('nothing of all this leaked', () => assertNothingLeaked({ app, witness }));
