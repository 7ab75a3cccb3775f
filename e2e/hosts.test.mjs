// A provider that people run themselves, as GitLab: where it is comes with our
// client. Two authorization servers are two hosts of it; both know a client of the
// same id and secret, and an account of the same number.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { startAuthServer } from './fixtures/authserver.mjs';
import { launchBrowser, newPerson, signIn } from './fixtures/browser.mjs';
import { assertNothingLeaked } from './fixtures/canary.mjs';
import { engineScopes, engineServer } from './fixtures/engine.mjs';
import { connectionId, consent, expire, mcpClient, mint, textOf, toProvider, tools } from './fixtures/journey.mjs';
import { prepareLanyard } from './fixtures/lanyard.mjs';
import { providerOverlay } from './fixtures/overlay.mjs';
import { until } from './fixtures/wait.mjs';
import { Witness } from './fixtures/witness.mjs';

const accessTTL = 10; // seconds
const fixtures = new URL('./fixtures', import.meta.url).pathname;
let app, first, second, browser, witness, person, id, endpoint;

before(async () => {
  app = await prepareLanyard();
  const options = { redirectUris: [app.redirectUri], scopes: Object.keys(engineScopes), accessTTL };
  first = await startAuthServer(options);
  second = await startAuthServer({ ...options, clientSecret: first.clientSecret });
  await app.writePreset('providers/engine.yaml', providerOverlay('engine', first, {
    display_name: 'Engine', issuer: '{base}', authorization_endpoint: '{base}/auth', token_endpoint: '{base}/token',
    identity: { from: 'request', request: { url: '{base}/me' }, subject: ['sub'], label: ['email'] }, validation: { url: '{base}/me' },
    revocation: { mode: 'rfc7009', endpoint: '{base}/token/revocation', revokes: 'grant' },
    parameters: { base: { source: 'client', label: 'Base', default: first.issuer, pattern: String.raw`^http://127\.0\.0\.1:[0-9]+$` } },
  }));
  const follows = JSON.parse(engineServer('engine', 'Analytical engine'));
  await app.writePreset('servers/engine.yaml', JSON.stringify({ ...follows, env: { ENGINE_AT: '{base}' }, parameters: { base: { source: 'client' } } }));
  await app.writePreset('servers/fixed.yaml', engineServer('fixed', 'Fixed engine'));
  await start();
  witness = new Witness(app);
  browser = await launchBrowser();
  person = await newPerson(browser);
  witness.watch(person.context);
});

after(async () => {
  await browser?.close();
  await app?.remove();
  await first?.close();
  await second?.close();
});

const start = (env) => app.start({ ENGINE_CLIENT_ID: first.clientId, ENGINE_CLIENT_SECRET: first.clientSecret, LANYARD_SERVER_READ: fixtures, ...env });
const restart = async (env) => { await app.stop(); await start(env); };
const status = async (name) => (await app.api('GET', '/api/v1/mcp/servers?user_id=me')).body.servers.find((s) => s.name === name).status;
const token = () => app.api('GET', `/api/v1/connections/${id}/token?min_ttl=1`);

// seen is what the running server says of where it belongs and of its token.
async function seen() {
  const client = await mcpClient(endpoint.url, endpoint.token);
  const call = async (name) => textOf(await client.callTool({ name, arguments: {} }));
  try {
    return { where: await call('where'), fingerprint: await call('fingerprint') };
  } finally {
    await client.close();
  }
}

const issuedBy = (server) => Object.values(server.secrets()).map((value) => createHash('sha256').update(value).digest('hex'));

test('a person is sent to the client’s host, whatever they ask for, and the server is for that host', async () => {
  const asked = await app.api('POST', '/api/v1/mcp/servers/engine/oauth/connect', { body: { user_id: 'me', params: { base: second.issuer } } });
  assert.equal(asked.status, 200);
  await person.page.goto(asked.body.authorization_url);
  await consent(person.page, app);
  assert.equal(new URL(person.page.url()).origin, first.issuer);
  await toProvider(person.page, app, 'Analytical engine');
  assert.equal(new URL(person.page.url()).origin, first.issuer);
  await signIn(person.page);
  id = await connectionId(person.page, app);
  await tools(app, id);
  endpoint = await mint(app, id);
  const { where, fingerprint } = await seen();
  assert.equal(where, first.issuer);
  assert.ok(issuedBy(first).includes(fingerprint), 'a token of nobody');
  assert.equal(await status('fixed'), 'available');
});

test('the client at another host under the same id: nothing of the first is sent there, and the person is told', async () => {
  await app.stop();
  const before = first.count();
  await expire(app, 'tokens', id);
  await start({ ENGINE_CLIENT_BASE: second.issuer });
  const refused = await until('the token has ended', async () => {
    const answer = await token();
    return answer.status !== 200 && answer;
  }, { timeout: 60_000, every: 250 });
  assert.deepEqual([refused.status, refused.body.error], [409, 'reconnect_needed']);
  for (const host of [first.issuer, second.issuer]) assert.ok(refused.body.error_description.includes(host), refused.body.error_description);
  const said = Object.values(await seen()).join(); // what a client is told
  assert.match(said, /needs to be connected again/);
  assert.ok(!issuedBy(first).some((hash) => said.includes(hash)), said);
  assert.deepEqual(second.heard, [], 'the second host was asked');
  assert.equal(first.count(), before);
  assert.equal(await status('engine'), 'reconnect_needed');
  assert.equal(await status('fixed'), 'needs_client'); // it is for the first alone
});

test('reconnected, it is of the new host, under the same id', async () => {
  const { page } = person;
  await page.goto(`${app.url}/mcp/connections/${id}`);
  await page.getByText(second.issuer).first().waitFor();
  await page.getByRole('button', { name: 'Reconnect' }).click();
  await consent(page, app);
  assert.equal(new URL(page.url()).origin, second.issuer);
  await signIn(page);
  assert.equal(await connectionId(page, app), id);
  await tools(app, id);
  const { where, fingerprint } = await seen();
  assert.equal(where, second.issuer);
  assert.ok(issuedBy(second).includes(fingerprint) && !issuedBy(first).includes(fingerprint), 'a token of another host');
  // What a page asks while the application restarts may never be answered, and the
  // witness waits for all that was asked.
  await person.context.close();
});

test('a host that cannot be one leaves the client out', async () => {
  await restart({ ENGINE_CLIENT_BASE: 'http://engine.example' });
  assert.match(app.output, /left out.*ENGINE_CLIENT_BASE: the value must match/);
  assert.equal(await status('fixed'), 'needs_client');
  await restart({ ENGINE_CLIENT_BASE: second.issuer });
});

test('nothing of all this leaked', () => {
  const secrets = () => Object.fromEntries([first, second].flatMap((s, i) => Object.entries(s.secrets()).map(([label, value]) => [`${label} of ${i}`, value])));
  return assertNothingLeaked({ app, witness, auth: { secrets } });
});
