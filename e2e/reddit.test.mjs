// Our own server for Reddit, as it is shipped: connected at the real
// authorization server, called, renewed while it runs. What stands for Reddit
// takes only the newest token of the grant, and only from who says who it is.

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

const agent = 'linux:test.example.engine:v1.0.0 (by /u/lovelace)';
const accessTTL = 16; // seconds; renewed at half of it
const asked = []; // {method, url, token, accepted}
let app, auth, reddit, browser, witness, client, known;

const post = { name: 't3_abc', title: 'Punched cards', subreddit: 'engines', author: 'ada', score: 3, num_comments: 0, created_utc: 1767225600, permalink: '/r/engines/comments/abc/', is_self: true, selftext: 'They weave.' };

before(async () => {
  app = await prepareLanyard();
  auth = await startAuthServer({ redirectUris: [app.redirectUri], scopes: await scopesOf('reddit'), accessTTL });
  reddit = createServer(async (req, res) => {
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const accepted = req.headers['user-agent'] === agent && !!(await auth.isCurrent(token));
    asked.push({ method: req.method, url: req.url, token, accepted });
    req.resume();
    res.writeHead(accepted ? 200 : 401, { 'content-type': 'application/json' });
    res.end(JSON.stringify(!accepted ? { message: 'Unauthorized', error: 401 }
      : req.method === 'POST' ? { json: { errors: [], data: { name: 't3_new', url: 'https://www.reddit.com/r/engines/comments/new/' } } }
        : { kind: 'Listing', data: { after: null, children: [{ kind: 't3', data: post }] } }));
  }).listen(0, '127.0.0.1');
  await once(reddit, 'listening');
  // What stands for Reddit refuses the old token from the moment of a renewal on.
  const refresh = { issued: 'always', rotation: auth.rotates ? 'always' : 'never', on_reuse: { family: 'revoked', old_access_token: 'dies' } };
  await app.writePreset('providers/reddit.yaml', providerOverlay('reddit', auth, { refresh }));
  await app.start({
    REDDIT_CLIENT_ID: auth.clientId, REDDIT_CLIENT_SECRET: auth.clientSecret, LANYARD_SERVER_ENV: 'REDDIT_BASE_URL,REDDIT_USER_AGENT',
    REDDIT_BASE_URL: `http://127.0.0.1:${reddit.address().port}`, REDDIT_USER_AGENT: agent,
  });
  witness = new Witness(app);
  browser = await launchBrowser();
  known = JSON.parse(await readFile(new URL('../presets/catalogues/reddit.json', import.meta.url), 'utf8'));
});

after(async () => {
  await client?.close();
  await browser?.close();
  await app?.remove();
  reddit?.closeAllConnections();
  reddit?.close();
  await auth?.close();
});

const list = async () => textOf(await client.callTool({ name: 'list_posts', arguments: { subreddit: 'engines', sort: 'new' } }));

test('connected with a click, and it lists what its preset says', async () => {
  const { page, context } = await newPerson(browser);
  witness.watch(context);
  await toProvider(page, app, 'Reddit');
  await signIn(page);
  const id = await connectionId(page, app);
  const { url, token } = await mint(app, id);
  client = await mcpClient(url, token);
  assert.deepEqual((await tools(app, id)).names.sort(), known.tools.map((t) => t.name).sort());
  await context.close();
});

test('a call reaches Reddit with the person’s token, and a post is made once', async () => {
  assert.match(await list(), /^\[t3_abc\] Punched cards\n[\s\S]*\n {2}> They weave\.$/);
  const { method, url, token } = asked.at(-1);
  assert.deepEqual([method, url, auth.accountOf(token)], ['GET', '/r/engines/new?limit=10&raw_json=1', 'ada']);
  assert.match(textOf(await client.callTool({ name: 'submit_post', arguments: { subreddit: 'engines', title: 'Cards', text: 'x' } })), /^Posted \[t3_new\]/);
  assert.equal(asked.filter((a) => a.method === 'POST' && a.accepted).length, 1);
});

test('renewed while it runs: the next call has the new token, in the same process', async () => {
  const servers = async () => (await app.processes()).filter((p) => p.command.at(-1) === 'reddit-server').map((p) => p.pid);
  const [old, running] = [asked.at(-1).token, await servers()];
  assert.ok(running.length > 0);
  await until('two renewals have reached Reddit', async () => {
    assert.match(await list(), /^\[t3_abc\]/); // no call fails
    return new Set(asked.filter((a) => a.accepted).map((a) => a.token)).size > 2;
  }, { timeout: 90_000, every: 250 });
  assert.equal(await auth.isCurrent(old), false);
  assert.deepEqual(await servers(), running);
});

test('nothing of all this leaked', () => assertNothingLeaked({ app, auth, witness }));
