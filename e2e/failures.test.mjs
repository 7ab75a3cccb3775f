// Servers that do not start: what the person is told, and what not.

import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { engineServer, startEngine } from './fixtures/engine.mjs';
import { connectionId, mcpClient, mint, textOf, toProvider, tools } from './fixtures/journey.mjs';
import { scopesOf, slackProviderOverlay } from './fixtures/overlay.mjs';
import { until } from './fixtures/wait.mjs';

let engine, app, auth;

before(async () => {
  engine = await startEngine({ servers: { broken: engineServer('broken', 'Broken engine', ['exit']) }, scopes: await scopesOf('slack') });
  ({ app, auth } = engine);
});

after(() => engine?.close());

async function connect(page, displayName) {
  await toProvider(page, app, displayName);
  await signIn(page);
  return connectionId(page, app);
}

// failure waits until the API says that the server did not start.
const failure = (id) => until('the start has failed', async () => {
  const { status, body } = await app.api('GET', `/api/v1/connections/${id}/tools`);
  return status !== 503 && { status, body };
}, { timeout: 60_000, every: 200 });

test('a server that dies is shown with its own words, without its token', async () => {
  const { page, context } = await engine.person();
  const id = await connect(page, 'Broken engine');
  const notice = page.locator('#tools .notice');
  await notice.waitFor({ timeout: 60_000 });
  const said = await notice.innerText();
  assert.match(said, /cannot use the token .*giving up/);
  assert.ok(!said.includes(auth.currentAccessToken('ada')), 'the token is on the page');
  await page.getByRole('link', { name: 'Try again' }).waitFor();

  const { status, body } = await failure(id);
  assert.deepEqual([status, body.error], [502, 'server_failed']);
  assert.match(body.error_description, /giving up/);
  assert.ok(body.hint);
  const { url, token } = await mint(app, id);
  await assert.rejects(mcpClient(url, token), /giving up/);
  await context.close();
});

test('one broken server leaves the others alone', async () => {
  const { page, context } = await engine.person();
  const id = await connect(page, 'Analytical engine');
  assert.deepEqual((await tools(app, id)).names, ['fingerprint']);
  const { url, token } = await mint(app, id);
  const client = await mcpClient(url, token);
  assert.match(textOf(await client.callTool({ name: 'fingerprint', arguments: {} })), /^[0-9a-f]{64}$/);
  await client.close();
  await context.close();
});

test('without npm, or without Node.js, the person reads what to install', async () => {
  const { page, context } = await engine.person();
  await app.writePreset('providers/slack.yaml', slackProviderOverlay(auth, { success: undefined }));
  const nodeAlone = join(app.root, 'bin');
  await mkdir(nodeAlone);
  await symlink(process.execPath, join(nodeAlone, 'node'));
  const cases = [[nodeAlone, /there is no npm: install it from https:\/\/nodejs\.org/], [join(app.root, 'nothing'), /there is no node that runs: install it/]];
  for (const [path, said] of cases) {
    await app.stop();
    await app.start({ PATH: path, SLACK_CLIENT_ID: auth.clientId, SLACK_CLIENT_SECRET: auth.clientSecret });
    const id = await connect(page, 'Slack');
    const tool = page.locator('details.tool', { hasText: 'slack_get_users' }).first(); // known although nothing can run
    await tool.locator('summary').first().click();
    await tool.getByRole('button', { name: 'Run slack_get_users' }).click();
    await page.locator('#result').waitFor({ timeout: 60_000 });
    assert.match(await page.locator('#result').innerText(), said);
    const { status, body } = await failure(id);
    assert.deepEqual([status, body.error], [502, 'server_failed']);
    assert.match(body.error_description, said);
    await app.api('DELETE', `/api/v1/connections/${id}`);
  }
  await context.close();
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
