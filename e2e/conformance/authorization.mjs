// Runs the suite's scenarios of an authorization server against ours (LANYARD in
// the environment), at every revision of the specification that has them and in
// each way that a client becomes known. A person goes through our page and the
// demo provider's. Every check must pass without a warning; what does not stands
// in exceptions.json under "authorization server", with what the suite says and
// why, and is to be removed from there once it passes.
import { DocumentHost } from "../fixtures/document.mjs";
import { freePort } from "../fixtures/wait.mjs";
import { startDev } from "./gateway.mjs";
import { sayYes } from "./person.mjs";
import { excepted, judged, listed } from "./suite.mjs";

const name = "Conformance";

// ways are those by which a client becomes known: what it presents then.
const ways = {
  entered: (dev, _, redirect) => dev.call("/api/v1/oauth-clients", { name, redirect_uris: [redirect] }),
  "entered with a secret": (dev, _, redirect) => dev.call("/api/v1/oauth-clients", { name, redirect_uris: [redirect], token_endpoint_auth_method: "client_secret_basic" }),
  "by itself": (dev, _, redirect) => dev.call("/oauth/register", { client_name: name, redirect_uris: [redirect], token_endpoint_auth_method: "none" }),
  document: (_, documents, redirect) => ({ client_id: documents.publish("/client.json", { client_name: name, redirect_uris: [redirect] }) }),
};

// run returns what came of a client's run: check → what is wrong, or nothing.
async function run(dev, documents, way, revision) {
  const port = await freePort();
  const redirect = `http://127.0.0.1:${port}/callback`;
  const client = await ways[way](dev, documents, redirect);
  const secret = client.client_secret ? ["--client-secret", client.client_secret] : [];
  const args = ["authorization", "--url", dev.base, "--client-id", client.client_id, ...secret, "--resource", `${dev.base}/mcp/demo`, "-p", port, "--spec-version", revision];
  let going, lost;
  const { said, checks } = await judged(args, (text) => {
    const [, address] = text.match(/^(https?:\S+\?\S+)\n/m) ?? [];
    if (!address || going || !text.includes("Callback server started")) return; // it may listen only later
    going = sayYes(address, redirect).catch(async (err) => {
      lost = err.message; // the suite would wait for five minutes
      await fetch(`${redirect}?error=lost`).catch(() => {});
    });
  });
  await going;
  const of = new Map(checks.map((c) => [c.id, c.status === "SUCCESS" ? undefined : `${c.status}: ${lost ?? c.errorMessage}`]));
  if (!of.has("authorization-server-metadata") || !of.has("authorization-code-grant")) of.set("the suite", `did not run to its end:\n${said.slice(-1500)}`);
  return of;
}

const began = Date.now();
const revisions = new Set((await listed("authorization")).flatMap(([, at]) => at));
if (revisions.size < 4) throw new Error(`the suite has hardly any revision: ${[...revisions]}`);
// unmet is what is expected to fail, and has not yet.
const unmet = new Set([...excepted("authorization server").keys()].flatMap((e) => [...revisions].map((r) => `${e} ${r}`)));
const documents = await DocumentHost.start();
const dev = await startDev({ lanyard: process.env.LANYARD, port: await freePort(), env: { SSL_CERT_FILE: documents.authority, LANYARD_DEMO_ADDR: `127.0.0.1:${await freePort()}` } });
let failed = false, passed = 0, runs = 0, known = 0;
try {
  for (const revision of revisions) {
    for (const way of Object.keys(ways)) {
      runs++;
      for (const [check, wrong] of await run(dev, documents, way, revision)) {
        const excuse = `${way}/${check}: ${wrong}`;
        if (!wrong) passed++;
        else if (unmet.delete(`${excuse} ${revision}`)) known++;
        else {
          failed = true;
          console.log(`  ${revision}: ${excuse}`);
        }
      }
    }
  }
} finally {
  await dev.stop();
  await documents.close();
}
for (const check of unmet) {
  failed = true;
  console.log(`  ${check}: is not so: remove it from exceptions.json`);
}
console.log(`${failed ? "not ok" : "ok"} authorization server: ${runs} runs, ${passed} checks pass; ${known} cannot; ${((Date.now() - began) / 1000).toFixed(1)} s`);
process.exit(failed ? 1 : 0);
