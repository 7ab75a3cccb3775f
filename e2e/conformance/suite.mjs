// The suite's program, and the Node.js that it needs.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const here = import.meta.dirname;
const program = join(here, "node_modules/@modelcontextprotocol/conformance/dist/index.js");
const node = +process.versions.node.split(".")[0] >= 22
  ? process.execPath
  : join(here, `node_modules/node-linux-${process.arch}/bin/node`);

// suite runs it with those arguments: what it said, and its status. heard is given
// all that it has said so far, each time that there is more.
export async function suite(args, heard = () => {}) {
  const p = spawn(node, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const s of [p.stdout, p.stderr]) s.on("data", (d) => heard((said += d)));
  const status = await new Promise((r) => p.on("close", r));
  return { said, status };
}

// listed are the scenarios of a kind, each with the revisions that have it.
export async function listed(kind) {
  const { said } = await suite(["list", `--${kind}`]);
  return [...said.matchAll(/- (\S+) \[([^\]]+)\]/g)].map(([, scenario, at]) => [scenario, at.split(",")]);
}

// judged is suite, and the checks that it made, each with the directory of its
// scenario.
export async function judged(args, heard) {
  const out = mkdtempSync(join(tmpdir(), "lanyard-conformance-"));
  try {
    const ended = await suite([...args, "-o", out], heard);
    const checks = [];
    for (const file of readdirSync(out, { recursive: true })) {
      if (!file.endsWith("checks.json")) continue;
      for (const c of JSON.parse(readFileSync(join(out, file), "utf8"))) checks.push({ ...c, directory: dirname(file) });
    }
    return { ...ended, checks };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

// excepted is what exceptions.json says under a heading: why, by what does not pass.
export function excepted(heading) {
  const all = JSON.parse(readFileSync(join(here, "exceptions.json"), "utf8"));
  return new Map(all[heading].flatMap((e) => e.checks.map((c) => [c, e.why])));
}
