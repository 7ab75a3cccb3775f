// The pages as people see them: wide and narrow, light and dark. With
// E2E_SCREENSHOTS set, their pictures are kept.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser, newPerson, screenshot } from './fixtures/browser.mjs';
import { atDemo, connectionId, toProvider } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { flaws } from './fixtures/looks.mjs';

const wide = { width: 1280, height: 800 };
const narrow = { width: 390, height: 844 };
// kept are the pictures for the documentation.
const kept = ['list', 'list-dark', 'consent', 'connected', 'error', 'connected-narrow'];
let app, browser;

before(async () => {
  // Pictures show the address that a reader will have, too.
  app = await prepareLanyard({ port: process.env.E2E_SCREENSHOTS ? 8080 : 0, env: { GOOGLE_CLIENT_ID: 'lanyard', GOOGLE_CLIENT_SECRET: 'none' } });
  await app.start();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await app?.remove();
});

async function shown(page, name) {
  await page.mouse.move(0, 0); // nothing is hovered, and nothing moves any more
  await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))));
  assert.deepEqual(await flaws(page), [], name);
  if (kept.includes(name)) await screenshot(page, name);
}

async function journey(page, suffix) {
  await toProvider(page, app, 'Demo notes');
  await atDemo(page, { decision: 'Deny' });
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  await shown(page, `error${suffix}`);

  await page.goto(`${app.url}/mcp/servers`);
  await page.getByRole('button', { name: 'Connect Demo notes' }).click();
  await page.waitForURL(`${app.url}/c/*`);
  await shown(page, `consent${suffix}`);

  await toProvider(page, app, 'Demo notes');
  assert.deepEqual(await flaws(page), [], 'the demo provider’s page');
  await atDemo(page);
  const id = await connectionId(page, app);
  await page.locator('details.tool').first().waitFor({ timeout: 60_000 });
  const list = page.locator('details.tool').nth(2);
  await list.locator('summary').first().click();
  await list.getByRole('button', { name: 'Run list_notes' }).click();
  await page.locator('#result').waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await shown(page, `connected${suffix}`);

  await page.goto(`${app.url}/mcp/servers`);
  await shown(page, `list${suffix}`);
  await page.goto(`${app.url}/mcp/servers/slack/setup`);
  await shown(page, `setup${suffix}`);

  await app.api('DELETE', `/api/v1/connections/${id}`);
}

for (const [suffix, options] of [
  ['', { viewport: wide }],
  ['-dark', { viewport: wide, colorScheme: 'dark' }],
  ['-narrow', { viewport: narrow }],
  ['-narrow-dark', { viewport: narrow, colorScheme: 'dark' }],
]) {
  test(`the pages look right (${suffix.slice(1) || 'wide'})`, async () => {
    const { page, context } = await newPerson(browser, options);
    try {
      await journey(page, suffix);
    } finally {
      await context.close();
    }
  });
}
