// Panels keep themselves fresh: the server says what changed, the panel that shows it asks again.
// Server-sent events first; polling where they fail, ever slower while nothing answers; nothing
// while nobody looks. When central is gone the page says so, and its ages turn grey.
//
// A panel with `data-v` says which versions it shows (its own and those inside it): the server
// leaves out what is the same (`data-kept`), or answers 204 where all is.

const SETTLE_MS = 1500; // Several changes close together are one refresh.
const POLL_MS = 15000;
const DOUBT_MS = 6000; // The stream broke or one question failed: is central gone?
const SLOWEST_MS = 120000;
const AT_LEAST_MS = 30000; // Strips and rates move with time even when no state changes.

const panels = () => document.querySelectorAll("[data-live]");

function isBusy(panel) {
  const active = document.activeElement;
  if (!active || !panel.contains(active) || active.closest("[hx-morph-skip]")) return false;
  return active.matches("input, select, textarea");
}

const asked = new WeakMap();

function isFresh(panel) {
  const everyMs = panel.dataset.live === "fleet" ? 5000 : 1000;
  return Date.now() - (asked.get(panel) ?? 0) < everyMs;
}

function refresh(topics) {
  if (document.hidden || !window.htmx || document.querySelector("dialog[open]")) return;
  for (const panel of panels()) {
    const topic = panel.dataset.live;
    if ((!topics || topics.has(topic)) && !isBusy(panel) && !isFresh(panel)) {
      asked.set(panel, Date.now());
      window.htmx.trigger(panel, "refresh");
    }
  }
}

function show(mode, text, title) {
  document.documentElement.classList.toggle("is-lost", mode === "lost");
  const light = document.getElementById("live");
  if (!light) return;
  light.dataset.mode = mode;
  light.title = title;
  const word = light.querySelector(".live-word");
  if (word.textContent !== text) word.textContent = text;
}

// ------------------------------------------------------------------ what is there already

function sayVersions(event) {
  const panel = event.target.closest?.("[data-live][data-v]");
  const request = event.detail?.ctx?.request;
  if (!panel || !request) return;
  const versions = [panel, ...panel.querySelectorAll("[data-v]")].map((element) => element.dataset.v);
  request.headers["X-Have"] = versions.join(",");
}

function keepWhatIsThere(event) {
  const { oldNode, newNode } = event.detail ?? {};
  if (newNode?.dataset?.kept === undefined) return;
  if (oldNode?.dataset?.v === newNode.dataset.v) event.preventDefault();
}

function sayAge(event) {
  const ctx = event.detail?.ctx;
  if (ctx?.response?.status !== 204) return;
  const at = ctx.response.headers?.get?.("X-As-Of");
  const panel = ctx.sourceElement?.closest?.("[data-live]") ?? document.querySelector("[data-live][data-v]");
  if (at && panel) panel.querySelectorAll(".age [data-ago]").forEach((time) => { time.dataset.ago = at; });
}

// ------------------------------------------------------------------ the stream, or polling

export function startLive() {
  if (!panels().length) return;
  let waiting = null;
  let polling = null;
  let again = null;
  let everyMs = POLL_MS;
  let isStreaming = false;
  let failures = 0;
  let news = new Set();

  const soon = (topics) => {
    for (const topic of topics) news.add(topic);
    waiting ??= setTimeout(() => {
      const found = news;
      news = new Set();
      waiting = null;
      refresh(found);
    }, SETTLE_MS);
  };

  const say = () => {
    if (failures > 1) show("lost", "no answer", `Central does not answer: what you see is as old as it says. Asking again every ${Math.round(everyMs / 1000)} s`);
    else if (isStreaming) show("live", "live", "Changes appear by themselves");
    else show("polling", "polling", "The live stream is not there; this page asks every 15 seconds instead");
  };

  const poll = (afterMs = everyMs) => {
    clearTimeout(polling);
    polling = setTimeout(() => {
      polling = null;
      refresh(null);
      if (!isStreaming || failures) poll();
    }, afterMs);
  };

  const failed = () => {
    failures += 1;
    everyMs = Math.min(SLOWEST_MS, POLL_MS * 2 ** Math.max(0, failures - 1));
    say();
    poll(failures === 1 ? DOUBT_MS : everyMs);
  };

  const answered = () => {
    failures = 0;
    everyMs = POLL_MS;
    say();
  };

  const listen = () => {
    const topics = [...new Set([...panels()].map((panel) => panel.dataset.live))].join(",");
    const source = new EventSource(`/events-stream?for=${encodeURIComponent(topics)}`);
    source.addEventListener("open", () => {
      isStreaming = true;
      const wasLost = failures > 0;
      answered();
      if (wasLost) refresh(null);
    });
    source.addEventListener("news", (event) => soon(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      const wasStreaming = isStreaming;
      isStreaming = false;
      say();
      // The browser tries again every few seconds, each time with an error: that must not put off
      // the question that finds central gone.
      if (wasStreaming) poll(DOUBT_MS);
      else if (polling === null) poll();
      if (source.readyState !== EventSource.CLOSED) return; // The browser asks again by itself.
      clearTimeout(again);
      again = setTimeout(listen, everyMs);
    });
  };
  listen();

  setInterval(() => isStreaming && refresh(null), AT_LEAST_MS);
  document.addEventListener("visibilitychange", () => refresh(null));
  document.addEventListener("htmx:config:request", sayVersions);
  document.addEventListener("htmx:before:morph:node", keepWhatIsThere);
  document.addEventListener("htmx:error", failed);
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status ?? 0;
    if (status === 401 || status === 403) location.reload(); // The session ended: sign in again.
    else if (status >= 500) failed();
    else if (status >= 400) show("lost", "no answer", `Central answered with an error (${status})`);
    else {
      sayAge(event);
      answered();
    }
  });
}
