// Authorization servers for the proof of the refresher, in a process of their
// own: as many as it asks for, each a real one (../fixtures/authserver.mjs).
// They are controlled by lines of JSON: {id, call, server, …} on stdin is
// answered by {id, result} or {id, error} on stdout. It ends with its stdin.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { startAuthServer } from '../fixtures/authserver.mjs';
import { approve, authorization, redeem } from '../fixtures/oauthclient.mjs';
import { until } from '../fixtures/wait.mjs';

const redirectUri = 'http://127.0.0.1:1/callback';
const scopes = ['openid', 'email'];
const servers = new Map();

const calls = {
  // start makes a server; see startAuthServer for its options.
  async start({ options }) {
    const server = await startAuthServer({ redirectUris: [redirectUri], accessTTL: 3600, ...options });
    servers.set(server.issuer, server);
    return { server: server.issuer, client_id: server.clientId, client_secret: server.clientSecret, endpoints: server.endpoints };
  },

  // connect is a person who grants access: it returns the token response.
  async connect({ server }) {
    const request = authorization(server, redirectUri, scopes);
    const { status, body } = await redeem(server, redirectUri, await approve(request, 'ada', scopes), request.verifier);
    if (status !== 200) throw new Error(`the code was answered with ${status}`);
    return body;
  },

  // fail makes the next token request go wrong.
  fail({ server, fault }) { server.failNext(fault); },

  // held returns when a token request hangs.
  async held({ server }) { await until('a token request hangs', () => server.hanging > 0, { every: 5 }); },

  // heal forgets faults that did not strike.
  heal({ server }) { server.heal(); },

  // seen tells what the server knows: how many refresh requests reached it, how
  // each went, and which refresh tokens and access token it would accept now.
  seen({ server }) {
    const refreshes = server.requests.filter((r) => r.grantType === 'refresh_token');
    return {
      refreshes: refreshes.length,
      renewed: refreshes.filter((r) => r.status === 200).length,
      refused: refreshes.filter((r) => r.error).length,
      honoured: server.grants().map((g) => g.refreshToken),
      newest: server.currentAccessToken('ada') ?? '',
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, server, ...rest } = JSON.parse(line);
  answer(id, call, { ...rest, server: servers.get(server) });
}
process.exit(0);

async function answer(id, call, args) {
  let out;
  try {
    out = { id, result: await calls[call](args) ?? null };
  } catch (err) {
    out = { id, error: err.message };
  }
  if (!process.stdout.write(`${JSON.stringify(out)}\n`)) await once(process.stdout, 'drain');
}
