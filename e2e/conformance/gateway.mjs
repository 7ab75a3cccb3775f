// The whole gateway in front of a server: `lanyard dev` with a preset of it, a
// connection, a token for its endpoint, and a proxy that shows the token, which
// the suite has no way to do.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

// startDev starts `lanyard dev` at port until stop. Its presets are those of the
// directory that presets fills, or the shipped ones. call is one of its API.
export async function startDev({ lanyard, port, env, presets }) {
  const root = mkdtempSync(join(tmpdir(), "lanyard-gateway-"));
  chmodSync(root, 0o711); // as root, a task has a user of its own, who has to get through
  const base = `http://127.0.0.1:${port}`;
  if (presets) {
    mkdirSync(join(root, "presets/servers"), { recursive: true });
    presets(join(root, "presets"));
  }
  const dev = spawn(lanyard, ["dev"], {
    cwd: root, stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH, HOME: root, LANYARD_DATA: join(root, "data"), LANYARD_ADDR: `127.0.0.1:${port}`, LANYARD_BASE_URL: base,
      ...(presets && { LANYARD_PRESETS: join(root, "presets") }), ...env,
    },
  });
  let said = "";
  for (const s of [dev.stdout, dev.stderr]) s.on("data", (d) => (said = (said + d).slice(-4000)));
  const gone = once(dev, "exit");
  const stop = async () => {
    if (dev.exitCode === null) dev.kill("SIGTERM");
    await gone;
    rmSync(root, { recursive: true, force: true });
  };
  try {
    await answers(`${base}/healthz`, dev, () => said);
    const key = readFileSync(join(root, "data/api-key"), "utf8").trim();
    const call = async (path, body) => {
      const res = await fetch(base + path, { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" }, body: JSON.stringify(body) });
      if (!res.ok) throw new Error(`${path}: ${res.status} ${await res.text()}`);
      return res.json();
    };
    return { base, call, stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

// startGateway serves the command's server at url until stop.
export async function startGateway({ lanyard, command, clients, port }) {
  const dev = await startDev({
    lanyard, port, env: { LANYARD_DEMO_ADDR: "off", LANYARD_SERVER_READ: command.map(dirname).join(":") },
    presets: (dir) => writeFileSync(join(dir, "servers/everything.yaml"), JSON.stringify({
      name: "everything", display_name: "Everything", description: "Does what the suite asks for.", auth_type: "none",
      server: { registry: "command", command, clients },
    })),
  });
  let proxy;
  const stop = async () => {
    proxy?.closeAllConnections();
    proxy?.close();
    await dev.stop();
  };
  try {
    const { id } = await dev.call("/api/v1/mcp/servers/everything/connect", { user_id: "me", env_values: {} });
    const { token, url } = await dev.call(`/api/v1/connections/${id}/mcp-tokens`, {});
    proxy = showing(token, new URL(url));
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    return { url: `http://127.0.0.1:${proxy.address().port}/mcp`, stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

async function answers(url, process, said) {
  for (let i = 0; ; i++) {
    if (process.exitCode !== null || i > 400) throw new Error(`the gateway does not serve: ${said()}`);
    try {
      if ((await fetch(url)).ok) return;
    } catch {}
    await new Promise((r) => setTimeout(r, 50));
  }
}

// showing passes requests on as they are, with the token. It stands for a page of
// the gateway's own origin: that a foreign one is refused at its Host and Origin
// is the suite's to find out, so those are mapped and not dropped.
function showing(token, target) {
  return createServer((req, res) => {
    const here = `127.0.0.1:${req.socket.localPort}`;
    const mapped = (v) => v?.replaceAll(here, target.host).replaceAll(`localhost:${req.socket.localPort}`, target.host);
    const headers = { ...req.headers, host: mapped(req.headers.host), authorization: `Bearer ${token}` };
    if (headers.origin) headers.origin = mapped(headers.origin);
    const out = request({ host: target.hostname, port: target.port, path: target.pathname, method: req.method, headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    out.on("error", () => res.destroy());
    res.on("close", () => out.destroy());
    req.pipe(out);
  });
}
