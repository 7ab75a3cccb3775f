// Our own server for Spotify, as it is shipped: connected at the real
// authorization server, called, renewed while it runs. What stands for Spotify
// takes only the newest token of the grant.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { startAuthServer } from './fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { connectionId, mcpClient, mint, textOf, tools, toProvider } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { providerOverlay, scopesOf } from './fixtures/overlay.mjs';
import { until } from './fixtures/wait.mjs';
import { Witness } from './fixtures/witness.mjs';

const accessTTL = 16; // seconds; renewed at half of it
const uri = 'spotify:track:4iV5W9uYEdYUVa79Axb7Rh';
const asked = []; // {method, url, body, token, accepted}
let app, auth, spotify, browser, witness, client, known;
let premium = true;

const track = { uri, name: 'Punched cards', duration_ms: 225_000, artists: [{ name: 'Ada' }], album: { name: 'Engines' }, type: 'track' };
const no = (status, message, reason) => [status, { error: { status, message, reason } }];
const answers = {
  'GET /v1/me/tracks': () => [200, { items: [{ added_at: '2026-01-02T03:04:05Z', track }], total: 1, next: null }],
  'POST /v1/me/playlists': () => [201, { uri: 'spotify:playlist:3cEYpjA9oz9GiPac4AsH4n', name: 'Cards', owner: { display_name: 'Ada' } }],
  'PUT /v1/me/player/play': () => (premium ? [204] : no(403, 'Player command failed: Premium required', 'PREMIUM_REQUIRED')),
};

before(async () => {
  app = await prepareLanyard();
  auth = await startAuthServer({ redirectUris: [app.redirectUri], scopes: await scopesOf('spotify'), accessTTL });
  spotify = createServer(async (req, res) => {
    const body = Buffer.concat(await req.toArray()).toString();
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const accepted = !!(await auth.isCurrent(token));
    asked.push({ method: req.method, url: req.url, body, token, accepted });
    const answer = answers[`${req.method} ${req.url.split('?')[0]}`];
    const [status, json] = accepted ? answer?.() ?? no(404, 'Service not found') : no(401, 'The access token expired');
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(json && JSON.stringify(json));
  }).listen(0, '127.0.0.1');
  await once(spotify, 'listening');
  // What stands for Spotify refuses the old token from the moment of a renewal on.
  const refresh = { issued: 'always', rotation: auth.rotates ? 'always' : 'never', on_reuse: { family: 'revoked', old_access_token: 'dies' } };
  await app.writePreset('providers/spotify.yaml', providerOverlay('spotify', auth, { refresh }));
  await app.start({
    SPOTIFY_CLIENT_ID: auth.clientId, SPOTIFY_CLIENT_SECRET: auth.clientSecret, LANYARD_SERVER_ENV: 'SPOTIFY_BASE_URL',
    SPOTIFY_BASE_URL: `http://127.0.0.1:${spotify.address().port}`,
  });
  witness = new Witness(app);
  browser = await launchBrowser();
  known = JSON.parse(await readFile(new URL('../presets/catalogues/spotify.json', import.meta.url), 'utf8'));
});

after(async () => {
  await client?.close();
  await browser?.close();
  await app?.remove();
  spotify?.closeAllConnections();
  spotify?.close();
  await auth?.close();
});

const call = (name, args = {}) => client.callTool({ name, arguments: args });
const saved = async () => textOf(await call('saved_tracks'));

test('connected with a click, and it lists what its preset says', async () => {
  const { page, context } = await newPerson(browser);
  witness.watch(context);
  await toProvider(page, app, 'Spotify');
  await signIn(page);
  const id = await connectionId(page, app);
  const { url, token } = await mint(app, id);
  client = await mcpClient(url, token);
  assert.deepEqual((await tools(app, id)).names.sort(), known.tools.map((t) => t.name).sort());
  await context.close();
});

test('a call reaches Spotify with the person’s token, and a playlist is made once', async () => {
  assert.match(await saved(), /^\[spotify:track:\w+\] Punched cards · Ada · Engines · 3:45 · added 2026-01-02\n {2}https:\/\/open\.spotify\.com\/track\/\w+$/);
  const { method, url, token } = asked.at(-1);
  assert.deepEqual([method, url, auth.accountOf(token)], ['GET', '/v1/me/tracks?limit=20&offset=0', 'ada']);
  assert.match(textOf(await call('create_playlist', { name: 'Cards' })), /^Created \[spotify:playlist:\w+\] Cards/);
  const made = asked.filter((a) => a.method === 'POST' && a.accepted);
  assert.deepEqual(made.map((a) => JSON.parse(a.body)), [{ name: 'Cards', public: false }]);
});

test('what plays is controlled, and an account without Premium is told so', async () => {
  assert.equal(textOf(await call('play', { uri })), `Spotify was told to play ${uri}.`);
  assert.deepEqual(JSON.parse(asked.at(-1).body), { uris: [uri] });
  premium = false;
  const refused = await call('play', { uri });
  assert.ok(refused.isError);
  assert.match(refused.content[0].text, /^premium_required: .*Premium/);
});

test('renewed while it runs: the next call has the new token, in the same process', async () => {
  const servers = async () => (await app.processes()).filter((p) => p.command.at(-1) === 'spotify-server').map((p) => p.pid);
  const [old, running] = [asked.at(-1).token, await servers()];
  assert.ok(running.length > 0);
  await until('two renewals have reached Spotify', async () => {
    assert.match(await saved(), /^\[spotify:track:/); // no call fails
    return new Set(asked.filter((a) => a.accepted).map((a) => a.token)).size > 2;
  }, { timeout: 90_000, every: 250 });
  assert.equal(await auth.isCurrent(old), false);
  assert.deepEqual(await servers(), running);
});

test('nothing of all this leaked', () => assertNothingLeaked({ app, auth, witness }));
