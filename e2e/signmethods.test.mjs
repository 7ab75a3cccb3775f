// Who the person is, where the tenant has a login of its own: an OpenID Connect
// issuer that nobody here wrote, and a product with its own users, whose backend
// confirms. It is on one machine: a deployment takes no plain-http logins.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startAuthServer } from './fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { Witness } from './fixtures/witness.mjs';

let browser;
before(async () => { browser = await launchBrowser(); });
after(async () => { await browser?.close(); });

const code = async (page) => (await page.locator('.code').innerText()).replace('Code: ', '');
// What the browser complained about beside answers that are no 200: those are meant.
const broken = (page) => page.complaints.filter((text) => !text.startsWith('Failed to load resource'));
const who = async (page) => (await page.locator('.who').innerText()).replace(/\s+/g, ' ');

describe('at an OpenID Connect issuer', () => {
  let app, auth, witness;

  before(async () => {
    app = await prepareLanyard();
    auth = await startAuthServer({ redirectUris: [`${app.url}/oauth/sign-in/callback`] });
    await app.start({
      LANYARD_SIGN_IN: 'oidc', LANYARD_OIDC_ISSUER: auth.issuer, LANYARD_OIDC_DOMAINS: 'example.test', LANYARD_DEMO_ADDR: 'off',
      SIGN_IN_CLIENT_ID: auth.clientId, SIGN_IN_CLIENT_SECRET: auth.clientSecret,
    });
    witness = new Witness(app);
  });

  after(async () => {
    await app?.remove();
    await auth?.close();
  });

  const person = async (options) => {
    const someone = await newPerson(browser, options);
    witness.watch(someone.context);
    return someone;
  };

  for (const javascript of [true, false]) {
    test(`from the page to the issuer and back, ${javascript ? 'with' : 'without'} scripts`, async () => {
      const { page, context } = await person({ javascript });
      const res = await page.goto(`${app.url}/mcp/servers?q=slack`);
      assert.equal(res.status(), 401, 'being on the machine signs nobody in');
      await page.getByRole('link', { name: 'Sign in' }).click();
      await page.waitForURL(`${auth.issuer}/**`);
      await signIn(page, { account: 'ada' });
      await page.waitForURL(`${app.url}/mcp/servers?q=slack`);
      assert.match(await who(page), /ada@example\.test/);
      await page.goto(`${app.url}/mcp/servers`);
      assert.match(await who(page), /ada@example\.test/);
      const mine = await context.request.get(`${app.url}/api/v1/mcp/servers?user_id=${encodeURIComponent(`oidc:${auth.issuer}#ada`)}`);
      assert.equal(mine.status(), 200, 'the session is of the user of that subject');
      assert.deepEqual(broken(page), []);

      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByRole('heading', { name: 'You are not signed in' }).waitFor();
      assert.equal((await page.goto(`${app.url}/mcp/servers`)).status(), 401);
      await context.close();
    });
  }

  test('who says no at the issuer is told what to do next', async () => {
    const { page, context } = await person();
    await page.goto(`${app.url}/oauth/sign-in`);
    await signIn(page, { decision: 'Deny' });
    await page.waitForURL(`${app.url}/oauth/sign-in/callback*`);
    assert.equal(await code(page), 'access_denied');
    await page.getByRole('link', { name: 'Sign in again' }).click();
    await signIn(page, { account: 'grace' });
    await page.waitForURL(`${app.url}/mcp/servers`);
    assert.match(await who(page), /grace@example\.test/);
    await context.close();
  });

  test('without an address that the issuer vouches for, nobody comes in', async () => {
    const { page, context } = await person();
    await page.goto(`${app.url}/oauth/sign-in`);
    await signIn(page, { without: ['email'] });
    await page.waitForURL(`${app.url}/oauth/sign-in/callback*`);
    assert.equal(await code(page), 'sign_in_not_allowed');
    assert.equal((await page.goto(`${app.url}/mcp/servers`)).status(), 401);
    await context.close();
  });

  test('nothing of all this leaked', async () => {
    await assertNothingLeaked({ app, auth, witness });
  });
});

// Product is somebody's application: it has users, and a login page at which a
// name is enough. Its backend has the API key.
class Product {
  app;
  confirmed = [];
  #http;

  async listen() {
    this.#http = createServer((req, res) => { this.#serve(req, res).catch((err) => { res.writeHead(500).end(err.message); }); }).listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.url = `http://localhost:${this.#http.address().port}`; // another site than the application
    return this;
  }

  async close() {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #serve(req, res) {
    const { pathname, searchParams } = new URL(req.url, this.url);
    const user = /user=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
    if (pathname === '/login' && !user) {
      res.writeHead(200, { 'content-type': 'text/html' });
      return res.end(`<!doctype html><title>Product</title><link rel="icon" href="data:,"><h1>Who are you?</h1>
        <form method="post" action="/session?${searchParams}"><label>Name <input name="user"></label><button>Log in</button></form>`);
    }
    if (pathname === '/session') {
      let form = '';
      for await (const chunk of req) form += chunk;
      return res.writeHead(303, { 'set-cookie': `user=${new URLSearchParams(form).get('user')}; HttpOnly`, location: `/login?${searchParams}` }).end();
    }
    if (pathname !== '/login') return res.writeHead(404).end();
    // Somebody who is logged in here wants to sign in there.
    const { status, body } = await this.app.api('POST', `/api/v1/sign-ins/${searchParams.get('flow_id')}/confirm`, { body: { user_id: user } });
    this.confirmed.push({ user, status, server: searchParams.get('server'), url: body.continue_url });
    if (status !== 200) return res.writeHead(200, { 'content-type': 'text/plain' }).end(body.error);
    return res.writeHead(303, { location: body.continue_url }).end();
  }
}

describe('at a product’s own login', () => {
  let app, product;

  before(async () => {
    product = await new Product().listen();
    app = await prepareLanyard();
    product.app = app;
    await app.start({ LANYARD_SIGN_IN: 'login_url', LANYARD_LOGIN_URL: `${product.url}/login`, LANYARD_DEMO_ADDR: 'off' });
  });

  after(async () => {
    await app?.remove();
    await product?.close();
  });

  const logIn = async (page, user) => {
    await page.getByLabel('Name').fill(user);
    await page.getByRole('button', { name: 'Log in' }).click();
  };

  test('from the page to the login and back', async () => {
    const { page, context } = await newPerson(browser);
    await page.goto(`${app.url}/mcp/servers?server=slack`);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.waitForURL(`${product.url}/login?*`);
    await logIn(page, 'ada');
    await page.waitForURL(`${app.url}/mcp/servers?server=slack`);
    assert.match(await who(page), /ada/);
    const { url, ...last } = product.confirmed.at(-1);
    assert.deepEqual(last, { user: 'ada', status: 200, server: 'slack' });

    // Signed out, one click is enough: the product knows the person still.
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.waitForURL(`${app.url}/mcp/servers`);
    assert.match(await who(page), /ada/);

    // The address that led here is worth nothing: to this browser, or another.
    const other = await newPerson(browser);
    for (const one of [page, other.page]) {
      const res = await one.goto(url);
      assert.deepEqual([res.status(), await code(one)], [409, 'sign_in_used']);
    }
    assert.deepEqual(broken(page), []);
    await context.close();
    await other.context.close();
  });

  test('a login that somebody else began signs nobody in', async () => {
    const [mallory, victim] = [await newPerson(browser), await newPerson(browser)];
    await mallory.page.goto(`${app.url}/oauth/sign-in`);
    const bait = mallory.page.url(); // at the product, with the flow's id
    await victim.page.goto(`${app.url}/oauth/sign-in`);
    await logIn(victim.page, 'victim');
    await victim.page.waitForURL(`${app.url}/mcp/servers`);
    const res = await victim.page.goto(bait); // the product knows the victim, and confirms
    assert.equal(product.confirmed.at(-1).user, 'victim');
    assert.deepEqual([res.status(), await code(victim.page)], [403, 'sign_in_other_browser']);
    assert.equal((await mallory.page.goto(`${app.url}/oauth/sign-ins/${new URL(bait).searchParams.get('flow_id')}`)).status(), 403);
    assert.equal((await mallory.page.goto(`${app.url}/mcp/servers`)).status(), 401);
    for (const { context } of [mallory, victim]) await context.close();
  });
});
