// A person at a browser without scripts, who says yes to all that is asked: what
// is there to be pressed first is pressed, with what is filled in already.
import { request } from "node:http";

// go is one step: the answer and its page. It is not fetch, which says itself
// how a page is come to, and not what browsers say.
function go(at, method, headers, body) {
  return new Promise((resolve, reject) => {
    const out = request(at, { method, headers, agent: false, signal: AbortSignal.timeout(20_000) }, async (res) => {
      try {
        resolve({ res, html: (await res.setEncoding("utf8").toArray()).join("") });
      } catch (err) {
        reject(err);
      }
    });
    out.on("error", reject);
    out.end(body);
  });
}

// sayYes follows an address until it leads to the client, which is told.
export async function sayYes(address, client) {
  const jars = new Map(); // by origin: two ports of this machine are two sites here
  let at = new URL(address), form, from = "none";
  for (let steps = 0; !at.href.startsWith(client); steps++) {
    if (steps > 20) throw new Error(`the way does not end: it is at ${at.origin}${at.pathname}`);
    const jar = jars.get(at.origin) ?? new Map();
    jars.set(at.origin, jar);
    const { res, html } = await go(at, form ? "POST" : "GET", {
      cookie: [...jar].map(([k, v]) => `${k}=${v}`).join("; "), accept: "text/html",
      "sec-fetch-site": from, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document",
      ...(form && { origin: at.origin, "content-type": "application/x-www-form-urlencoded" }),
    }, form?.toString());
    for (const line of res.headers["set-cookie"] ?? []) {
      const [, k, v] = /^([^=]+)=([^;]*)/.exec(line);
      jar.set(k, v);
    }
    const next = res.headers.location ?? link(html);
    const posted = next ? undefined : filled(html);
    if (!next && !posted) throw new Error(`${at.origin}${at.pathname} answered ${res.statusCode}, and leads nowhere: ${/<h1[^>]*>([^]*?)<\/h1>/.exec(html)?.[1]}`);
    const to = new URL(next ?? posted.action, at);
    from = to.origin === at.origin ? "same-origin" : "cross-site";
    [at, form] = [to, posted?.fields];
  }
  await go(at, "GET", {});
}

const plain = (text) => text?.replaceAll("&#43;", "+").replaceAll("&#34;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const attribute = (tag, name) => plain(new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1]);

// link is where a page goes on by itself.
function link(html) {
  const tag = /<a\s[^>]*\sdata-follow[^>]*>/.exec(html)?.[0];
  return tag && attribute(tag, "href");
}

// filled is a page's form as its first button sends it.
function filled(html) {
  const [, head, inside] = /(<form\s[^>]*method="post"[^>]*>)([^]*?)<\/form>/.exec(html) ?? [];
  if (!head) return undefined;
  const fields = new URLSearchParams();
  for (const [tag] of inside.matchAll(/<input\s[^>]*>/g)) {
    if (/type="(radio|checkbox)"/.test(tag) && !/\schecked/.test(tag)) continue;
    fields.append(attribute(tag, "name"), attribute(tag, "value") ?? "");
  }
  const button = /<button\s[^>]*>/.exec(inside)?.[0];
  if (attribute(button, "name")) fields.append(attribute(button, "name"), attribute(button, "value") ?? "");
  return { action: attribute(head, "action"), fields };
}
