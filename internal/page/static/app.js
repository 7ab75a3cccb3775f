// What saves steps on the pages. All of them work without it.
"use strict";

const announce = (text) => {
  document.getElementById("announce").textContent = text;
};

// The search narrows the list while typing; without this, the server does it. A
// page that the server has narrowed already lacks the rest, and stays as it is.
function startFilter() {
  const input = document.querySelector("[data-filter]");
  if (!input || input.defaultValue !== "") return;
  document.querySelector("[data-filter-submit]").hidden = true;
  const none = document.querySelector("[data-none]");
  const groups = [...document.querySelectorAll("[data-group]")];
  const filter = () => {
    const wanted = input.value.trim().toLowerCase();
    let found = 0;
    for (const group of groups) {
      let inGroup = 0;
      for (const card of group.querySelectorAll("[data-words]")) {
        card.hidden = !card.dataset.words.includes(wanted);
        if (!card.hidden) inGroup++;
      }
      group.hidden = inGroup === 0;
      found += inGroup;
    }
    none.hidden = found > 0;
    announce(found === 1 ? "1 server" : `${found} servers`);
  };
  input.addEventListener("input", filter);
  startKeys(input, filter);
  input.form.addEventListener("submit", (event) => event.preventDefault());
  if (input.value !== "") filter(); // What the browser kept over a reload.
}

// The keyboard: "/" leads to the search, Escape empties it, the arrows lead from
// card to card. Tab still goes through everything.
function startKeys(input, filter) {
  const stops = () => [...document.querySelectorAll("[data-words]")].filter((card) => card.offsetParent)
    .map((card) => card.querySelector(".row-link, .card-offer :is(a, button, summary)")).filter(Boolean);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    const searching = event.target === input;
    if (!searching && event.target.closest("input, textarea, select")) return;
    if (event.key === "/" && !searching) {
      input.select();
    } else if (event.key === "Escape" && searching && input.value !== "") {
      input.value = "";
      filter();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const all = [input, ...stops()];
      const card = event.target.closest("[data-words]");
      const here = searching ? 0 : all.findIndex((stop) => card && card.contains(stop));
      if (here < 0) return;
      const next = here + (event.key === "ArrowDown" ? 1 : -1);
      all[Math.max(0, Math.min(next, all.length - 1))].focus();
    } else {
      return;
    }
    event.preventDefault();
  });
}

// Copy buttons show up only where copying works.
function startCopying() {
  if (!navigator.clipboard) return;
  document.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      announce("Selected. Copy it with the keyboard.");
      return;
    }
    const label = button.firstChild;
    label.textContent = "Copied";
    announce("Copied");
    setTimeout(() => { label.textContent = "Copy"; }, 2000);
  });
}

// A form is sent once. Its button is not disabled, because a disabled button is
// not sent along and loses the focus.
function startBusyForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.busy) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter || form.querySelector("button");
    button.setAttribute("aria-disabled", "true");
    if (button.value !== "cancel") announce(form.dataset.busy);
  });
  // Coming back with the browser's Back button shows the page as it was left.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; });
    document.querySelectorAll("[aria-disabled]").forEach((button) => { button.removeAttribute("aria-disabled"); });
  });
}

// Runs once somebody can see the page: a browser that renders a link ahead of
// time, or in a hidden tab, must not claim it.
function whenSeen(run) {
  const seen = () => {
    if (document.prerendering || document.visibilityState !== "visible") return;
    document.removeEventListener("visibilitychange", seen);
    document.removeEventListener("prerenderingchange", seen);
    run();
  };
  document.addEventListener("visibilitychange", seen);
  document.addEventListener("prerenderingchange", seen);
  seen();
}

function startAutomaticSteps() {
  const form = document.querySelector("form[data-auto]");
  if (form) whenSeen(() => form.requestSubmit());
  const link = document.querySelector("a[data-follow]");
  // replace: Back leads to the consent page, not here and on again.
  if (link && /^https?:$/.test(link.protocol)) whenSeen(() => location.replace(link.href));
}

// Times are written in UTC; people read their own.
function localTimes() {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[data-time]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = format.format(at);
  }
}

// The tools section as it is now; null while the server is still starting.
async function loadTools(section) {
  const answer = await fetch(section.dataset.api + "?wait=3", { headers: { Accept: "application/json" } });
  if (answer.status === 503 || answer.status === 429) {
    // Still starting: the first time, its program is being installed.
    const { error_description: progress } = await answer.json();
    if (progress) section.querySelector("[data-working]").textContent = progress;
    return null;
  }
  const page = await fetch(section.dataset.page);
  const next = new DOMParser().parseFromString(await page.text(), "text/html").getElementById("tools");
  return next && next.dataset.tools !== "pending" ? next : null;
}

// While a server starts, asks for its tools, and then replaces that one section:
// a reload would lose a token that is shown once.
async function pollTools() {
  const section = document.querySelector('[data-tools="pending"]');
  if (!section) return;
  for (let tries = 0; tries < 60; tries++) {
    await new Promise((resume) => setTimeout(resume, Math.min(1000 + tries * 250, 4000)));
    if (document.hidden) continue;
    const next = await loadTools(section).catch(() => null); // The network is away for a moment.
    if (!next) continue;
    section.replaceWith(document.adoptNode(next));
    announce("The tools are loaded");
    return;
  }
  const working = section.querySelector("[data-working]");
  working.classList.remove("working");
  working.textContent = "The server has not answered yet.";
  announce(working.textContent);
}

// The end of a connect: tells the page that opened this window, and closes it.
// The message is a hint that something happened, never what happened: that
// page asks its own server.
function finish() {
  const end = document.querySelector('[data-finish="popup"]');
  if (!end) return;
  const { flow, opener: origin, status } = end.dataset;
  if (window.opener && /^https?:\/\//.test(origin)) {
    window.opener.postMessage({ type: "lanyard:flow", flow_id: flow, status }, origin);
  }
  // Long enough to be read. What asks for a decision stays open.
  if ("stay" in end.dataset) return;
  setTimeout(() => {
    window.close();
    // Still here: this is the page itself, because the popup was blocked, or a
    // popup that a provider cut off from its opener.
    const back = end.querySelector("a[data-return]");
    if (back && /^https?:$/.test(back.protocol)) setTimeout(() => location.replace(back.href), 300);
  }, 1500);
}

startFilter();
startCopying();
startBusyForms();
startAutomaticSteps();
localTimes();
finish();
pollTools();
