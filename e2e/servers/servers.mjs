// Real MCP servers, installed from the locks that the presets carry,
// and how each is started by hand: the credentials in the shape that the
// server reads, and the one call that shows whether its token is accepted.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startStdio } from '../fixtures/stdio.mjs';

const locks = fileURLToPath(new URL('../../presets/locks', import.meta.url));

// calls: what to ask of each server, what a good answer holds, and what a
// refusal looks like. Slack's server reports a refusal as a success.
export const calls = {
  'google-drive': { tool: 'search', args: { query: 'engine' }, good: 'Analytical engine.txt', refused: 'invalid authentication credentials' },
  'google-calendar': { tool: 'list-calendars', args: {}, good: 'Punched cards', refused: 'invalid authentication credentials' },
  'google-sheets': { tool: 'list_sheets', args: { spreadsheet_id: 'sheet-1' }, good: 'Difference tables', refused: 'invalid authentication credentials' },
  slack: { tool: 'slack_list_channels', args: {}, good: 'engine-room', refused: 'invalid_auth' },
};

const entries = {
  'google-drive': 'node_modules/@piotr-agier/google-drive-mcp/dist/index.js',
  'google-calendar': 'node_modules/@cocal/google-calendar-mcp/build/index.js',
  slack: 'node_modules/@zencoderai/slack-mcp-server/dist/index.js',
};

// install runs `npm ci` once per lock and returns the server's entry file. The
// result is kept in E2E_PACKAGES, or the system's temporary directory.
export async function install(name) {
  const lock = await readFile(join(locks, name, 'package-lock.json'));
  const cache = process.env.E2E_PACKAGES ?? join(tmpdir(), 'lanyard-e2e-packages');
  const dir = join(cache, `${name}-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`);
  if (!(await stat(dir).catch(() => undefined))) {
    await mkdir(cache, { recursive: true });
    const fresh = await mkdtemp(join(cache, 'new-'));
    await cp(join(locks, name), fresh, { recursive: true });
    await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--omit=dev'], { cwd: fresh, timeout: 300_000 });
    await chmod(fresh, 0o755); // a child under another uid runs it
    await rename(fresh, dir).catch(() => rm(fresh, { recursive: true })); // somebody else was faster
  }
  return join(dir, entries[name]);
}

// startDrive points google-auth-library at a token endpoint of ours by an
// external_account_authorized_user file; currentToken answers there.
export async function startDrive(entry, upstream, currentToken) {
  const home = await mkdtemp(join(tmpdir(), 'e2e-drive-'));
  const secret = randomBytes(18).toString('base64url');
  const asked = [];
  const endpoint = createServer((req, res) => {
    let form = '';
    req.on('data', (chunk) => { form += chunk; });
    req.on('end', () => {
      asked.push({ authorization: req.headers.authorization, form });
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify({ access_token: currentToken(), expires_in: 5, token_type: 'Bearer' }));
    });
  }).listen(0, '127.0.0.1');
  await once(endpoint, 'listening');
  const url = `http://127.0.0.1:${endpoint.address().port}`;
  await writeFile(join(home, 'adc.json'), JSON.stringify({
    type: 'external_account_authorized_user',
    audience: '//iam.googleapis.com/locations/global/workforcePools/p/providers/q',
    client_id: 'handle', client_secret: secret, refresh_token: 'opaque-handle',
    token_url: `${url}/token`, token_info_url: `${url}/introspect`,
  }), { mode: 0o600 });
  const client = startStdio(['node', entry], { cwd: home, env: { HOME: home, GOOGLE_APPLICATION_CREDENTIALS: join(home, 'adc.json'), ...upstream.googleEnv } });
  return {
    client,
    asked,
    close: async () => {
      await client.close();
      endpoint.closeAllConnections();
      endpoint.close();
      await rm(home, { recursive: true });
    },
  };
}

// startCalendar gives a client file whose client is never used, and a token
// file with nothing but the access token, which the server reads anew per call.
export async function startCalendar(entry, upstream, token) {
  const home = await mkdtemp(join(tmpdir(), 'e2e-calendar-'));
  const [keys, tokens] = [join(home, 'keys.json'), join(home, 'tokens.json')];
  await writeFile(keys, JSON.stringify({ installed: { client_id: 'unused', client_secret: 'unused', redirect_uris: ['http://127.0.0.1/'] } }), { mode: 0o600 });
  const setToken = async (value) => {
    await writeFile(`${tokens}.new`, JSON.stringify({ normal: { access_token: value } }), { mode: 0o600 });
    await rename(`${tokens}.new`, tokens);
  };
  await setToken(token);
  const client = startStdio(['node', entry], { cwd: home, env: { HOME: home, GOOGLE_OAUTH_CREDENTIALS: keys, GOOGLE_CALENDAR_MCP_TOKEN_PATH: tokens, ...upstream.googleEnv } });
  return { client, setToken, close: async () => { await client.close(); await rm(home, { recursive: true }); } };
}

// startSlack has the token in its environment: another token, another process.
export async function startSlack(entry, upstream, token) {
  const home = await mkdtemp(join(tmpdir(), 'e2e-slack-'));
  const client = startStdio(['node', entry], { cwd: home, env: { HOME: home, SLACK_BOT_TOKEN: token, SLACK_TEAM_ID: 'T01', ...upstream.nodeEnv } });
  return { client, close: async () => { await client.close(); await rm(home, { recursive: true }); } };
}
