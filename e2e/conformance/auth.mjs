// Runs the auth/ scenarios of MCP's official conformance suite against our
// client, ./authclient (AUTHCLIENT in the environment), each at every revision of
// the specification that has it. Every check must pass without a warning; what
// is not offered stands in exceptions.json under "client auth", with why, and is
// to be removed from there once it passes.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const suite = join(here, "node_modules/@modelcontextprotocol/conformance/dist/index.js");
const node = +process.versions.node.split(".")[0] >= 22
  ? process.execPath
  : join(here, `node_modules/node-linux-${process.arch}/bin/node`);
// The revision between them changes nothing of authorization.
const revisions = ["2025-03-26", "2025-11-25", "2026-07-28"];
const atOnce = 4;

// run is the suite with those arguments: what it said, and its status.
async function run(...args) {
  const p = spawn(node, [suite, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const s of [p.stdout, p.stderr]) s.on("data", (d) => (said += d));
  const status = await new Promise((r) => p.on("exit", r));
  return { said, status };
}

// played is what came of a scenario at a revision: the checks that passed, and
// what is wrong.
async function played(scenario, revision) {
  const out = mkdtempSync(join(tmpdir(), "lanyard-conformance-"));
  const at = revision === "extension" ? [] : ["--spec-version", revision];
  try {
    const { said, status } = await run("client", "--command", process.env.AUTHCLIENT, "--scenario", scenario, ...at, "-o", out);
    let checks = [];
    for (const dir of readdirSync(out, { recursive: true })) {
      if (dir.endsWith("checks.json")) checks = JSON.parse(readFileSync(join(out, dir), "utf8"));
    }
    const wrong = checks.filter((c) => c.status === "FAILURE" || c.status === "WARNING").map((c) => `${c.id}: ${c.status}: ${c.errorMessage ?? c.description}`);
    const passed = checks.filter((c) => c.status === "SUCCESS").length;
    if (!passed || status !== 0) wrong.push(`the suite ended with ${status}, ${passed} checks passed:\n${said.slice(-1500)}`);
    return { scenario, revision, passed, wrong };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

const began = Date.now();
const { said } = await run("list");
const wanted = [];
for (const [, scenario, at] of said.matchAll(/(auth\/\S+) \[([^\]]+)\]/g)) {
  for (const revision of at.split(",")) {
    if (revision === "extension" || revisions.includes(revision)) wanted.push([scenario, revision]);
  }
}
if (wanted.length < 40) throw new Error(`the suite lists hardly any scenario:\n${said}`);

const excepted = new Map();
for (const e of JSON.parse(readFileSync(join(here, "exceptions.json"), "utf8"))["client auth"]) {
  for (const scenario of e.checks) excepted.set(scenario, e.why);
}
const queue = [...wanted];
const results = [];
await Promise.all(Array.from({ length: atOnce }, async () => {
  for (let next; (next = queue.shift());) results.push(await played(...next));
}));

let failed = false;
for (const r of results) {
  const why = excepted.get(r.scenario);
  const bad = why ? r.wrong.length === 0 : r.wrong.length > 0;
  failed ||= bad;
  if (!bad) continue;
  console.log(`  ${r.scenario} ${r.revision}: ${why ? "passes: remove it from exceptions.json" : r.wrong.join("\n    ")}`);
}
const fine = results.filter((r) => !excepted.has(r.scenario));
console.log(`${failed ? "not ok" : "ok"} client auth: ${fine.length} scenarios, ${fine.reduce((n, r) => n + r.passed, 0)} checks pass; `
  + `${results.length - fine.length} not offered; ${((Date.now() - began) / 1000).toFixed(1)} s`);
process.exit(failed ? 1 : 0);
