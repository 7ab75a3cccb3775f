// Runs the auth/ scenarios of MCP's official conformance suite against our
// client, ./authclient (AUTHCLIENT in the environment), each at every revision of
// the specification that has it. Every check must pass without a warning; what
// is not offered stands in exceptions.json under "client auth", with why, and is
// to be removed from there once it passes.
import { excepted, judged, listed } from "./suite.mjs";

// The revision between them changes nothing of authorization.
const revisions = ["2025-03-26", "2025-11-25", "2026-07-28"];
const atOnce = 4;

// played is what came of a scenario at a revision: the checks that passed, and
// what is wrong.
async function played(scenario, revision) {
  const at = revision === "extension" ? [] : ["--spec-version", revision];
  const { said, status, checks } = await judged(["client", "--command", process.env.AUTHCLIENT, "--scenario", scenario, ...at]);
  const wrong = checks.filter((c) => c.status === "FAILURE" || c.status === "WARNING").map((c) => `${c.id}: ${c.status}: ${c.errorMessage ?? c.description}`);
  const passed = checks.filter((c) => c.status === "SUCCESS").length;
  if (!passed || status !== 0) wrong.push(`the suite ended with ${status}, ${passed} checks passed:\n${said.slice(-1500)}`);
  return { scenario, revision, passed, wrong };
}

const began = Date.now();
const wanted = [];
for (const [scenario, at] of await listed("client")) {
  if (!scenario.startsWith("auth/")) continue;
  for (const revision of at) {
    if (revision === "extension" || revisions.includes(revision)) wanted.push([scenario, revision]);
  }
}
if (wanted.length < 40) throw new Error(`the suite lists hardly any scenario: ${wanted.length}`);

const excuses = excepted("client auth");
const queue = [...wanted];
const results = [];
await Promise.all(Array.from({ length: atOnce }, async () => {
  for (let next; (next = queue.shift());) results.push(await played(...next));
}));

let failed = false;
for (const scenario of excuses.keys()) {
  if (results.some((r) => r.scenario === scenario)) continue;
  failed = true;
  console.log(`  ${scenario} is excepted, but there is no such scenario`);
}
for (const r of results) {
  const why = excuses.get(r.scenario);
  const bad = why ? r.wrong.length === 0 : r.wrong.length > 0;
  failed ||= bad;
  if (!bad) continue;
  console.log(`  ${r.scenario} ${r.revision}: ${why ? "passes: remove it from exceptions.json" : r.wrong.join("\n    ")}`);
}
const fine = results.filter((r) => !excuses.has(r.scenario));
console.log(`${failed ? "not ok" : "ok"} client auth: ${fine.length} scenarios, ${fine.reduce((n, r) => n + r.passed, 0)} checks pass; `
  + `${results.length - fine.length} not offered; ${((Date.now() - began) / 1000).toFixed(1)} s`);
process.exit(failed ? 1 : 0);
