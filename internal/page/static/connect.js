// Lanyard.connect opens a connect page in a popup from a page of yours, and
// tells you when it is over. Load it from your Lanyard deployment:
//
//   <script src="https://lanyard.example.com/static/connect.js"></script>
//
//   button.addEventListener("click", () => {
//     Lanyard.connect({
//       authorizationURL: fetch("/my/connect/google-drive", { method: "POST" })
//         .then((answer) => answer.json()).then((body) => body.authorization_url),
//       flowURL: "/my/connect/google-drive/status",
//       onDone: (flow) => render(flow.status),
//     });
//   });
//
// authorizationURL  what your backend got from POST /api/v1/mcp/servers/{name}/oauth/connect;
//                   a string, or a promise of one: the popup opens at once and waits for it
// flowURL           your own endpoint, asked until the flow is over; a string or a promise.
//                   Your backend knows who is signed in, calls GET /api/v1/flows/{id} with its
//                   API key and repeats the JSON. When the status is "pending" and it is this
//                   user's flow, it calls POST /api/v1/flows/{id}/confirm first.
// onDone(flow)      called once, with that JSON: flow.status is connected, denied or failed; or
//                   {status: "timeout"} after half an hour; or {status: "failed", error} when
//                   there was no URL to open
//
// Call it directly in the click, before any await, or browsers block the popup.
// When it is blocked, this page itself goes to the authorization URL and comes
// back at your return_url. It returns a function that stops asking.
//
// Only flowURL decides. A message from the popup makes it ask sooner. A popup
// that looks closed decides nothing: a provider that isolates its pages
// (Cross-Origin-Opener-Policy) makes an open one look closed.
(() => {
  "use strict";

  const ends = ["connected", "denied", "failed"];
  const interval = 2000;
  const limit = 30 * 60 * 1000;

  function connect({ authorizationURL, flowURL, onDone }) {
    const popup = window.open("", "", "popup,width=540,height=760");
    const started = Date.now();
    let timer;
    let origin;
    let over = false;

    const stop = () => {
      over = true;
      clearTimeout(timer);
      removeEventListener("message", hint);
      removeEventListener("focus", soon);
    };
    const done = (flow) => {
      if (over) return;
      stop();
      if (onDone) onDone(flow);
    };
    const soon = () => {
      clearTimeout(timer);
      if (!over) timer = setTimeout(poll, 50);
    };
    const hint = (event) => {
      if (event.origin === origin && event.data && event.data.type === "lanyard:flow") soon();
    };

    let asking = false;
    async function poll() {
      if (over || asking) return;
      asking = true;
      try {
        const answer = await fetch(await flowURL, { credentials: "same-origin", cache: "no-store" });
        const flow = answer.ok ? await answer.json() : {};
        if (ends.includes(flow.status)) done(flow);
      } catch {
        // The network is away for a moment.
      } finally {
        asking = false;
      }
      if (Date.now() - started > limit) done({ status: "timeout" });
      clearTimeout(timer);
      if (!over) timer = setTimeout(poll, interval);
    }

    Promise.resolve(authorizationURL).then((address) => {
      const url = new URL(address, location.href);
      if (!/^https?:$/.test(url.protocol)) throw new Error("authorizationURL is not an http(s) URL");
      if (over) {
        if (popup) popup.close();
        return;
      }
      origin = url.origin;
      if (!popup || popup.closed) {
        stop();
        location.assign(url);
        return;
      }
      popup.location.replace(url);
      addEventListener("message", hint);
      addEventListener("focus", soon);
      timer = setTimeout(poll, interval);
    }).catch((error) => {
      if (popup) popup.close();
      done({ status: "failed", error });
    });
    return stop;
  }

  window.Lanyard = { connect };
})();
