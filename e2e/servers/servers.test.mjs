// The real servers with hand-made credentials, without the application: what
// the journeys rely on is proven here first. The tokens are those of the real
// authorization server, the upstream accepts only the newest of each grant.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startAuthServer } from '../fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from '../fixtures/browser.mjs';
import { authorization, redeem, refresh } from '../fixtures/oauthclient.mjs';
import { startUpstream } from '../fixtures/upstream.mjs';
import { calls, install, startCalendar, startDrive, startSlack } from './servers.mjs';

const redirectUri = 'http://127.0.0.1:1/callback'; // nobody listens: the code is read from the request
const scopes = ['https://www.googleapis.com/auth/drive.readonly', 'https://www.googleapis.com/auth/calendar', 'channels:read'];
let auth, upstream, browser;

before(async () => {
  auth = await startAuthServer({ redirectUris: [redirectUri], scopes });
  upstream = await startUpstream((token) => auth.isCurrent(token));
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await upstream?.close();
  await auth?.close();
});

// connect has a person consent and returns a grant whose token can be renewed.
async function connect() {
  const request = authorization(auth, redirectUri, scopes);
  const { context, page } = await newPerson(browser);
  await page.goto(request.url);
  const back = page.waitForRequest((r) => r.url().startsWith(redirectUri));
  await signIn(page).catch(() => {}); // the last page does not load
  const code = new URL((await back).url()).searchParams.get('code');
  await context.close();
  let { body: tokens } = await redeem(auth, redirectUri, code, request.verifier);
  return {
    get token() { return tokens.access_token; },
    renew: async () => { ({ body: tokens } = await refresh(auth, tokens.refresh_token)); return tokens.access_token; },
  };
}

async function accepted(client, name, token) {
  const { tool, args, good } = calls[name];
  const result = await client.call(tool, args);
  assert.ok(result.ok && result.text.includes(good), `${name}: ${result.text}`);
  assert.deepEqual((({ token, accepted }) => ({ token, accepted }))(upstream.calls.at(-1)), { token, accepted: true });
}

async function refused(client, name) {
  const { tool, args, refused: text } = calls[name];
  const result = await client.call(tool, args);
  assert.ok(result.text.includes(text), `${name}: ${result.text}`);
  assert.equal(upstream.calls.at(-1).accepted, false);
}

test('google-drive asks the token endpoint and follows each renewal without a restart', async () => {
  const grant = await connect();
  let token = grant.token;
  const server = await startDrive(await install('google-drive'), upstream, () => token);
  try {
    await server.client.initialize();
    assert.ok((await server.client.tools()).some((t) => t.name === calls['google-drive'].tool));
    await accepted(server.client, 'google-drive', grant.token);
    await grant.renew();
    await refused(server.client, 'google-drive'); // the endpoint still hands out the old one
    token = grant.token;
    await accepted(server.client, 'google-drive', grant.token);
    assert.match(server.asked[0].authorization, /^Basic /);
    assert.equal(new URLSearchParams(server.asked[0].form).get('refresh_token'), 'opaque-handle');
    assert.deepEqual(upstream.refusedHosts, []);
  } finally {
    await server.close();
  }
});

test('google-calendar reads its token file anew for each call', async () => {
  const grant = await connect();
  const server = await startCalendar(await install('google-calendar'), upstream, grant.token);
  try {
    await server.client.initialize();
    assert.ok((await server.client.tools()).some((t) => t.name === calls['google-calendar'].tool));
    await accepted(server.client, 'google-calendar', grant.token);
    await grant.renew();
    await refused(server.client, 'google-calendar');
    await server.setToken(grant.token);
    await accepted(server.client, 'google-calendar', grant.token);
    assert.deepEqual(upstream.refusedHosts, []);
  } finally {
    await server.close();
  }
});

test('slack keeps the token that it was started with, and reports a refusal as a success', async () => {
  const grant = await connect();
  const entry = await install('slack');
  const old = await startSlack(entry, upstream, grant.token);
  try {
    await old.client.initialize();
    assert.ok((await old.client.tools()).some((t) => t.name === calls.slack.tool));
    await accepted(old.client, 'slack', grant.token);
    await grant.renew();
    await refused(old.client, 'slack');
    const fresh = await startSlack(entry, upstream, grant.token);
    await fresh.client.initialize();
    await accepted(fresh.client, 'slack', grant.token);
    await fresh.close();
  } finally {
    await old.close();
  }
});
