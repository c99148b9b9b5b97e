// Panels keep themselves fresh: the server says what changed, the panel that shows it asks again.
// Server-sent events first; polling where they fail; nothing while nobody looks.

const SETTLE_MS = 1500; // Several changes close together are one refresh.
const POLL_MS = 15000;
const AT_LEAST_MS = 30000; // Strips and rates move with time even when no state changes.

const panels = () => document.querySelectorAll("[data-live]");

function isBusy(panel) {
  const active = document.activeElement;
  if (!active || !panel.contains(active)) return false;
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
  const light = document.getElementById("live");
  if (!light) return;
  light.dataset.mode = mode;
  light.title = title;
  light.querySelector(".live-word").textContent = text;
}

export function startLive() {
  if (!panels().length) return;
  let waiting = null;
  let polling = null;
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

  const poll = () => {
    show("polling", "polling", "The live stream is not there; this page asks every 15 seconds instead");
    polling ??= setInterval(() => refresh(null), POLL_MS);
  };

  const source = new EventSource(`/events-stream?for=${encodeURIComponent([...panels()].map((panel) => panel.dataset.live).join(","))}`);
  source.addEventListener("open", () => {
    clearInterval(polling);
    polling = null;
    show("live", "live", "Changes appear by themselves");
  });
  source.addEventListener("news", (event) => soon(JSON.parse(event.data)));
  source.addEventListener("error", poll);

  setInterval(() => refresh(null), AT_LEAST_MS);
  document.addEventListener("visibilitychange", () => refresh(null));
  document.addEventListener("htmx:error", () => show("lost", "no answer", "Central did not answer the last question of this page"));
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status ?? 0;
    if (status === 401 || status === 403) location.reload(); // The session ended: sign in again.
    else if (status >= 400) show("lost", "no answer", `Central answered with an error (${status})`);
    else if (document.getElementById("live")?.dataset.mode === "lost") show("polling", "polling", "Central answers again");
  });
}
