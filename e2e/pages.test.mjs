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
  await page.goto(`${app.url}/mcp/servers/gmail/setup`); // with what to turn on
  await shown(page, `setup-enable${suffix}`);

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

// shownCards are the names of the cards that are to be seen, in order.
const shownCards = (page) => page.locator('[data-words]').evaluateAll((cards) => cards.filter((c) => c.offsetParent).map((c) => c.querySelector('h3 bdi').textContent));
const groups = (page) => page.locator('[data-group] h2').evaluateAll((all) => all.filter((h) => h.offsetParent).map((h) => h.textContent));

test('many servers: what can be connected comes first, and the keyboard finds the rest', async () => {
  const { page, context } = await newPerson(browser, { viewport: wide });
  await page.goto(`${app.url}/mcp/servers`);
  const all = await shownCards(page);
  assert.ok(all.length >= 20, `${all.length} servers`);
  assert.deepEqual(await groups(page), ['Ready to connect', 'To set up first']);
  assert.ok(all.indexOf('Gmail') < all.indexOf('Airtable'), 'Google has a client here, Airtable has none');

  await page.keyboard.press('/');
  await page.keyboard.type('calendar');
  assert.deepEqual(await shownCards(page), ['Google Calendar', 'Google Workspace']);
  assert.deepEqual(await groups(page), ['Ready to connect']);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Connect Google Workspace');
  for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowUp');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'q');
  await page.keyboard.type('/'); // in the field it is a character
  assert.equal(await page.locator('#q').inputValue(), 'calendar/');
  await page.keyboard.press('Escape');
  assert.deepEqual(await shownCards(page), all);
  assert.deepEqual(page.complaints, []);
  await context.close();
});

test('many servers without scripts: the same search, by a button', async () => {
  const { page, context } = await newPerson(browser, { javascript: false, viewport: narrow });
  await page.goto(`${app.url}/mcp/servers`);
  await page.getByLabel('Find a server').fill('issues');
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  const found = await page.locator('[data-words] h3 bdi').allInnerTexts();
  assert.ok(found.includes('GitHub') && found.includes('Linear') && !found.includes('Gmail'), String(found));
  await page.getByRole('link', { name: 'Show all' }).click();
  assert.ok(await page.locator('[data-words]').count() >= 20);
  await context.close();
});

for (const javascript of [true, false]) {
  test(`a link for one server shows that one, and no search (${javascript ? 'with' : 'without'} scripts)`, async () => {
    const { page, context } = await newPerson(browser, { javascript, viewport: narrow });
    const { body } = await app.api('POST', '/api/v1/links', { body: { user_id: 'alice', servers: ['demo'] } });
    await page.goto(body.url);
    if (!javascript) await page.getByRole('button').click();
    await page.waitForURL(`${app.url}/mcp/servers?server=demo`);
    assert.deepEqual(await shownCards(page), ['Demo notes']);
    assert.equal(await page.getByRole('search').count(), 0);
    assert.doesNotMatch(await page.locator('main').innerText(), /Nothing matches/);
    assert.deepEqual(await flaws(page), []);
    assert.deepEqual(page.complaints, []);
    await context.close();
  });
}

test('an address that was kept opens in a new window, and others’ pages get nothing there', async () => {
  const { page, context } = await newPerson(browser, { viewport: wide });
  const answer = await page.goto(`${app.url}/mcp/all`);
  assert.equal(answer.status(), 200);
  await page.getByRole('heading', { name: 'All your servers behind one address' }).waitFor();
  assert.deepEqual(page.complaints, []);
  await context.close();

  const stranger = await newPerson(browser);
  await stranger.page.route('https://elsewhere.example/', (route) => route.fulfill({ contentType: 'text/html', body: '<h1>Elsewhere</h1>' }));
  await stranger.page.goto('https://elsewhere.example/');
  await stranger.page.evaluate((url) => fetch(url, { mode: 'no-cors', credentials: 'include' }).catch(() => {}), `${app.url}/mcp/all`);
  assert.deepEqual((await stranger.context.cookies(app.url)).filter((c) => c.name.endsWith('-session')), []);
  await stranger.context.close();
});
