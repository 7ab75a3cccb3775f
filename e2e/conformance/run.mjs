// Runs MCP's official conformance suite against a server directly and against
// the same server through something of ours, and holds the two against each
// other: what passes directly passes through it.
//
//   node run.mjs                      the bridge and the gateway: every run of the table below
//   node run.mjs --through URL --requirements REVISION [--direct URL] [--name NAME]
//                                     what already serves the server at URL
//
// It needs in its environment EVERYTHING (the server's binary; it speaks stdio,
// and HTTP with -http), and for the bridge LANYARD (our own) and LEGACY (./legacy). Exceptions stand in
// exceptions.json by the name of the run; see explain for what they must be.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { freePort } from "../fixtures/wait.mjs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startGateway } from "./gateway.mjs";
import { judged } from "./suite.mjs";

const here = import.meta.dirname;
const everything = process.env.EVERYTHING;
const lanyard = process.env.LANYARD;

const legacy = "2025-11-25";
const modern = "2026-07-28";

// The runs of the bridge. Where all share one server it cannot ask its clients
// back; "translated" is a server that does not know the modern era.
const runs = [
  { name: "each", requirements: legacy, clients: "each", command: [everything] },
  { name: "shared", requirements: legacy, command: [everything] },
  { name: "each", requirements: modern, clients: "each", command: [everything] },
  { name: "shared", requirements: modern, command: [everything] },
  { name: "translated", requirements: modern, command: [process.env.LEGACY, everything] },
  { name: "translated each", requirements: modern, clients: "each", command: [process.env.LEGACY, everything] },
  { name: "gateway each", requirements: legacy, clients: "each", command: [everything] },
  { name: "gateway each", requirements: modern, clients: "each", command: [everything] },
];

const started = [];
process.on("exit", () => started.forEach((p) => p.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

// start runs a server until stop, once something listens on its port.
async function start(port, command, ...args) {
  const p = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  started.push(p);
  let said = "";
  p.stderr.on("data", (d) => (said = (said + d).slice(-4000)));
  let over = false;
  p.on("exit", () => (over = true));
  for (let i = 0; ; i++) {
    if (over || i > 200) throw new Error(`${command} does not serve: ${said}`);
    try {
      await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1000) });
      break;
    } catch {
      await new Promise((r) => setTimeout(r, 50));
    }
  }
  return async () => {
    const gone = new Promise((r) => p.on("exit", r));
    if (!over) p.kill("SIGTERM");
    await gone;
  };
}

// checksOf are the results of every check of a run, "scenario/check" → the worst
// status that it had.
async function checksOf(url, requirements) {
  // Its status tells of failures, which are looked at here.
  const { said, checks } = await judged(["server", "--url", url, "--requirements", requirements]);
  const worst = ["FAILURE", "WARNING", "SUCCESS"];
  const results = {};
  for (const c of checks) {
    if (!worst.includes(c.status)) continue; // of no consequence
    const name = `${c.directory.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "")}/${c.id}`;
    const before = results[name];
    if (!before || worst.indexOf(c.status) < worst.indexOf(before.status)) results[name] = { status: c.status, why: c.errorMessage };
  }
  if (Object.keys(results).length < 50) throw new Error(`the suite ran hardly any check:\n${said.slice(-20000)}`);
  return results;
}

const direct = {};
// directly are the results of the server itself, over its own HTTP.
async function directly(requirements) {
  if (!direct[requirements]) {
    const port = await freePort();
    // Its own sessions are what the legacy era's requirements are about.
    const stop = await start(port, everything, "-http", `127.0.0.1:${port}`, `-stateless=${requirements === modern}`);
    direct[requirements] = await checksOf(`http://127.0.0.1:${port}`, requirements);
    await stop();
  }
  return direct[requirements];
}

// failing are the checks that each run so far did not pass.
const failing = {};

// explain compares a run with the direct one and returns what is wrong. An
// exception is a check that does not pass; it must say why. It must fail
// directly as well, or the entry names another run in "passes" in which it does
// pass, or in "because" what the specification leaves open. One that passes is
// to be removed. What stands under a revision counts for each of its
// runs, what stands under "bridge" and a revision for each in the table above.
function explain(name, through, straight, exceptions) {
  const wrong = [];
  const excused = new Map();
  for (const e of exceptions) {
    for (const check of e.checks) {
      excused.set(check, e);
      if (e.passes ? failing[e.passes]?.has(check) ?? true : !e.because && straight[check]?.status !== "FAILURE") {
        wrong.push(`${check} is excepted, but ${e.passes ? `does not pass in the run "${e.passes}"` : "does not fail directly"}`);
      }
      if (through[check]?.status === "SUCCESS") wrong.push(`${check} passes: remove it from exceptions.json`);
    }
  }
  failing[name] = new Set();
  for (const check of new Set([...Object.keys(straight), ...Object.keys(through)])) {
    const got = through[check];
    if (got?.status !== "FAILURE" && (got?.status === "SUCCESS" || straight[check]?.status !== "SUCCESS")) continue;
    failing[name].add(check);
    if (!excused.has(check)) {
      wrong.push(`${check}: ${got ? `${got.status}: ${got.why}` : "was not run to its end"} (directly: ${straight[check]?.status ?? "not run"})`);
    }
  }
  return wrong;
}

const all = JSON.parse(readFileSync(join(here, "exceptions.json"), "utf8"));
let failed = false;
async function compare(name, requirements, url, straight, group) {
  const began = Date.now();
  const through = await checksOf(url, requirements);
  const title = `${name} ${requirements}`;
  const wrong = explain(title, through, straight, [requirements, `${group} ${requirements}`, title].flatMap((of) => all[of] ?? []));
  const count = (r) => Object.values(r).filter((c) => c.status === "SUCCESS").length;
  console.log(`${wrong.length ? "not ok" : "ok"} ${title}: ${count(through)} checks pass, ${count(straight)} directly; ${((Date.now() - began) / 1000).toFixed(1)} s`);
  for (const w of wrong) console.log(`  ${w}`);
  failed ||= wrong.length > 0;
}

const { values } = parseArgs({ options: { through: { type: "string" }, direct: { type: "string" }, requirements: { type: "string" }, name: { type: "string", default: "url" }, run: { type: "string" } } });
if (values.through) {
  const straight = values.direct ? await checksOf(values.direct, values.requirements) : await directly(values.requirements);
  await compare(values.name, values.requirements, values.through, straight);
} else {
  for (const r of runs.filter((r) => !values.run || `${r.name} ${r.requirements}` === values.run)) {
    const port = await freePort();
    if (r.name.startsWith("gateway")) {
      const { url, stop } = await startGateway({ lanyard, command: r.command, clients: r.clients, port });
      await compare(r.name, r.requirements, url, await directly(r.requirements), "bridge");
      await stop();
      continue;
    }
    const stop = await start(port, lanyard, "bridge", "--addr", `127.0.0.1:${port}`, "--clients", r.clients ?? "shared", "--", ...r.command);
    await compare(r.name, r.requirements, `http://127.0.0.1:${port}/mcp`, await directly(r.requirements), "bridge");
    await stop();
  }
}
process.exit(failed ? 1 : 0);
