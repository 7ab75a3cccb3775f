// Connecting at a real authorization server: how it goes well, and each way in
// which it can fail, as the person's page and as a program's JSON.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { engineScopes, heldCallback, startEngine } from './fixtures/engine.mjs';
import { connectionId, consent, expire, openAs, toProvider } from './fixtures/journey.mjs';
import { deployed } from './fixtures/lanyard.mjs';
import { providerOverlay } from './fixtures/overlay.mjs';
import { until } from './fixtures/wait.mjs';

const server = 'Analytical engine';
let engine, app, auth;

before(async () => {
  engine = await startEngine();
  ({ app, auth } = engine);
});

after(() => engine?.close());

async function connect(page, how) {
  await toProvider(page, app, server);
  await signIn(page, how);
  return connectionId(page, app);
}

const problem = async (page) => ({
  heading: await page.getByRole('heading', { level: 1 }).innerText(),
  code: (await page.locator('.code').innerText()).replace('Code: ', ''),
});

const access = async (id) => (await app.api('GET', `/api/v1/connections/${id}/token?min_ttl=0`)).body.access_token;

// newest of what the authorization server has issued to an account.
const newest = (model, account) => Object.entries(auth.secrets()).findLast(([label]) => label.startsWith(model) && label.endsWith(account))[1];

// asProgram gives the callback to the JSON variant, in the same browser.
async function asProgram(page, callback) {
  const res = await page.goto(`${app.url}/api/v1/mcp/oauth/callback${callback.search}`);
  return { status: res.status(), body: await res.json() };
}

// A token endpoint that does not answer costs half a minute, so that journey
// starts first and is looked at last.
let hanging;

test('a provider that hangs is waited for', async () => {
  const { page, context } = await engine.person();
  auth.failNext('hang');
  await toProvider(page, app, server);
  page.setDefaultTimeout(60_000);
  const before = auth.count('authorization_code');
  const started = Date.now();
  hanging = signIn(page).then(async () => {
    await page.getByRole('heading', { name: 'The provider did not answer' }).waitFor();
    return { ...await problem(page), took: Date.now() - started, context };
  });
  hanging.catch(() => {}); // looked at by the last test
  await until('the provider hangs', () => auth.hanging === 1);
  assert.equal(auth.count('authorization_code'), before + 1);
});

test('connected, with the account’s name; the callback works once and in one browser', async () => {
  const { page, context } = await engine.person();
  const other = await engine.person();
  await toProvider(page, app, server);
  const callback = await heldCallback(page, app, () => signIn(page));
  const before = auth.count('authorization_code');

  // Somebody else who gets hold of the address gets nowhere, and spends nothing.
  await other.page.goto(String(callback));
  assert.deepEqual(await problem(other.page), { heading: 'This was started in another browser', code: 'state_other_browser' });
  assert.deepEqual(await asProgram(other.page, callback).then(({ status, body }) => [status, body.error]), [403, 'state_other_browser']);
  assert.equal(auth.count('authorization_code'), before);

  await page.goto(String(callback));
  const id = await connectionId(page, app);
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'ada@example.test');
  assert.equal(auth.count('authorization_code'), before + 1);

  await page.goto(String(callback));
  assert.deepEqual(await problem(page), { heading: 'This was already finished', code: 'state_used' });
  assert.deepEqual(await asProgram(page, callback).then(({ status, body }) => [status, body.error]), [409, 'state_used']);
  assert.equal(auth.count('authorization_code'), before + 1);
  assert.equal((await app.api('GET', `/api/v1/connections/${id}`)).body.status, 'connected');
  await context.close();
  await other.context.close();
});

test('answers that nobody asked for are refused before anything is sent', async () => {
  const { page, context } = await engine.person();
  const before = auth.count();
  const cases = [
    ['?code=c&state=made-up', 400, 'state_unknown'],
    ['?code=c', 400, 'state_unknown'],
    ['', 400, 'state_unknown'],
    ['?code=c&state=a&state=b', 400, 'callback_invalid'],
  ];
  for (const [query, status, code] of cases) {
    const res = await page.goto(app.redirectUri + query);
    assert.equal(res.status(), status, query);
    assert.equal((await problem(page)).code, code, query);
    const json = await app.api('GET', `/api/v1/mcp/oauth/callback${query}`, { key: null });
    assert.deepEqual([json.status, json.body.error], [status, code], query);
    assert.ok(json.body.hint, query);
  }
  assert.equal(auth.count(), before);
  await context.close();
});

test('ten minutes at the provider are too long, and an answer of another issuer is none', async () => {
  const { page, context } = await engine.person();
  const before = auth.count();
  await toProvider(page, app, server);
  const late = await heldCallback(page, app, () => signIn(page));
  await expire(app, 'states');
  await page.goto(String(late));
  assert.deepEqual(await problem(page), { heading: 'This took too long', code: 'state_expired' });

  for (const change of [(q) => q.set('iss', 'https://evil.example'), (q) => q.delete('iss')]) {
    await toProvider(page, app, server);
    const callback = await heldCallback(page, app, () => signIn(page));
    change(callback.searchParams);
    await page.goto(String(callback));
    assert.deepEqual(await problem(page), { heading: 'This answer came from somebody else', code: 'issuer_mismatch' });
  }
  assert.equal(auth.count(), before);
  await context.close();
});

test('no', async () => {
  const { page, context } = await engine.person();
  await toProvider(page, app, server);
  await signIn(page, { decision: 'Deny' });
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  assert.equal((await problem(page)).code, 'access_denied');
  await context.close();
});

test('a failed exchange has its own page and code, and the code is tried once', async () => {
  const { page, context } = await engine.person();
  const cases = [
    ['500', 'The provider is out of order', 'provider_unavailable', 502],
    ['503', 'The provider is out of order', 'provider_unavailable', 502],
    ['invalid_client', 'The provider does not accept this installation', 'client_misconfigured', 502],
    ['invalid_grant', 'The provider took its grant back', 'code_refused', 502],
    ['drop', 'The provider did not answer', 'exchange_timeout', 504],
    ['lose_reply', 'The provider did not answer', 'exchange_timeout', 504],
    ['html', 'The provider is out of order', 'provider_unavailable', 502],
  ];
  for (const [fault, heading, code, status] of cases) {
    for (const program of [false, true]) {
      await toProvider(page, app, server);
      const callback = await heldCallback(page, app, () => signIn(page));
      const before = auth.count('authorization_code');
      auth.failNext(fault);
      if (program) {
        const { status: got, body } = await asProgram(page, callback);
        assert.deepEqual([got, body.error], [status, code], fault);
        assert.ok(body.hint, fault);
      } else {
        const res = await page.goto(String(callback));
        assert.deepEqual([res.status(), await problem(page)], [status, { heading, code }], fault);
      }
      assert.equal(auth.count('authorization_code'), before + 1, `${fault}: token requests`);
    }
  }
  await context.close();
});

test('less than was asked for is said with its reason', async () => {
  const { page, context } = await engine.person();
  await toProvider(page, app, server);
  await signIn(page, { without: ['engine:run'] });
  await page.getByRole('heading', { name: `${server} is connected` }).waitFor();
  const missing = await page.locator('.missing').innerText();
  assert.ok(missing.includes(engineScopes['engine:run']) && !missing.includes(engineScopes['engine:read']), missing);
  await context.close();
});

// reconnect goes through the consent page that the API's answer leads to. Whose
// connection it is, that page does not tell: whoever has the address can open it.
async function reconnect(page, id, how) {
  const { body } = await app.api('POST', '/api/v1/mcp/servers/engine/oauth/connect', { body: { user_id: 'me', connection_id: id } });
  await page.goto(body.authorization_url);
  assert.doesNotMatch(await page.locator('main').innerText(), /ada@example\.test/);
  await consent(page, app);
  await signIn(page, how);
}

test('reconnecting keeps the connection; another account is refused and its grant given back', async () => {
  const { page, context } = await engine.person();
  const id = await connect(page);
  const first = await access(id);

  await reconnect(page, id);
  assert.equal(await connectionId(page, app), id);
  const second = await access(id);
  assert.notEqual(second, first);
  assert.equal((await auth.introspect(second)).active, true);

  await reconnect(page, id, { account: 'grace' });
  await page.getByRole('heading', { name: 'That was another account' }).waitFor();
  const said = await page.locator('main').textContent();
  assert.ok(said.includes('ada@example.test') && said.includes('grace@example.test'), said);
  for (const model of ['AccessToken', 'RefreshToken']) {
    assert.equal((await auth.introspect(newest(model, 'grace'))).active, false, `${model} of the refused grant lives on`);
  }
  assert.equal(await access(id), second);
  await context.close();
});

test('a grant that the provider has ended is said on the page, which leads back to it', async () => {
  const { page, context } = await engine.person();
  auth.accessTTL = 1;
  const id = await connect(page);
  auth.accessTTL = 3600;
  auth.endGrants('ada');
  const refused = await until('the token has expired', async () => {
    const { status, body } = await app.api('GET', `/api/v1/connections/${id}/token?min_ttl=0`);
    return status !== 200 && { status, error: body.error };
  });
  assert.deepEqual(refused, { status: 409, error: 'reconnect_needed' });

  await page.goto(`${app.url}/mcp/servers`);
  assert.equal(await page.locator('.row .status').innerText(), 'Reconnect needed');
  await page.locator('.row-link').click();
  await page.getByRole('button', { name: 'Reconnect' }).click();
  await page.getByText('This renews the access of ada@example.test').waitFor();
  await consent(page, app);
  await signIn(page);
  assert.equal(await connectionId(page, app), id);
  assert.equal(await page.locator('.status').innerText(), 'Connected');
  assert.equal((await auth.introspect(await access(id))).active, true);
  await context.close();
});

test('disconnecting ends the grant at the provider', async () => {
  const { page, context } = await engine.person();
  const id = await connect(page);
  const [token, refresh] = [await access(id), newest('RefreshToken', 'ada')];
  assert.equal((await auth.introspect(refresh)).active, true);
  await page.getByText('Disconnect…').click();
  await page.getByRole('button', { name: /^Disconnect / }).click();
  await page.getByText('The provider has ended the access').waitFor();
  for (const secret of [token, refresh]) assert.equal((await auth.introspect(secret)).active, false);
  assert.deepEqual((await app.api('GET', `/api/v1/connections/${id}/token`)).body.error, 'connection_unknown');
  await context.close();
});

test('and the wait ends, with its own page', async () => {
  const { took, context, ...said } = await hanging;
  assert.deepEqual(said, { heading: 'The provider did not answer', code: 'exchange_timeout' });
  assert.ok(took > 5_000 && took < 60_000, `after ${took} ms`);
  await context.close();
});

test('a provider without a client shows how to register one', async () => {
  await app.stop();
  await app.writePreset('providers/engine.yaml', providerOverlay('engine', auth, {
    display_name: 'Engine', registration: { console_url: 'https://console.engine.example/clients', help: 'Choose "Web application".' },
  }));
  await app.start({ ENGINE_CLIENT_ID: '', ENGINE_CLIENT_SECRET: '' });
  const { page, context } = await engine.person();
  if (!deployed) { // where people come by link, none of them is the operator
    await page.goto(`${app.url}/mcp/servers`);
    await page.getByRole('link', { name: `Set up ${server}` }).click();
    assert.equal(await page.locator('#redirect-uri').innerText(), app.redirectUri);
    const said = await page.locator('main').innerText();
    for (const text of ['ENGINE_CLIENT_ID=', 'ENGINE_CLIENT_SECRET=', 'engine:run', 'Choose "Web application".']) assert.ok(said.includes(text), text);
    assert.equal(await page.getByRole('link', { name: /developer page/ }).getAttribute('href'), 'https://console.engine.example/clients');
  }
  const guest = await engine.person({ stranger: true });
  await openAs(guest.page, app, 'guest');
  const card = guest.page.locator('[data-words]').filter({ has: guest.page.getByRole('heading', { name: server }) });
  assert.match(await card.innerText(), /Not available yet\. Tell whoever sent you the link\./);
  await guest.page.goto(`${app.url}/mcp/servers/engine/setup`);
  await guest.page.getByRole('heading', { name: 'Not available yet' }).waitFor();
  await guest.context.close();
  const { status, body } = await app.api('POST', '/api/v1/mcp/servers/engine/oauth/connect', { body: { user_id: 'u' } });
  assert.deepEqual([status, body.error], [409, 'client_missing']);
  await context.close();
});

test('nothing of all this leaked', () => assertNothingLeaked(engine));
