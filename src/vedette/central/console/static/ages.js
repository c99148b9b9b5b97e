// Ages grow while a page is open, so that a page that stopped refreshing shows it.

// The server's clock minus ours, taken once per page: ages are by central's time.
const skewMs = () => Number(document.body.dataset.now) - loadedMs;
const loadedMs = Date.now();

export const nowMs = () => Date.now() + skewMs();

const part = (value, unit) => `${value} ${unit}`;

export function durationText(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return part(whole, "s");
  if (whole < 600) return part(Math.floor(whole / 60), "min") + (whole % 60 ? ` ${String(whole % 60).padStart(2, "0")} s` : "");
  if (whole < 3600) return part(Math.round(whole / 60), "min");
  if (whole < 86400) {
    const minutes = Math.round(whole / 60);
    const rest = minutes % 60;
    return part(Math.floor(minutes / 60), "h") + (rest ? ` ${String(rest).padStart(2, "0")} min` : "");
  }
  const hours = Math.round(whole / 3600);
  return part(Math.floor(hours / 24), "d") + (hours % 24 ? ` ${hours % 24} h` : "");
}

function tick() {
  const now = nowMs();
  for (const element of document.querySelectorAll("[data-ago]")) {
    const seconds = (now - Number(element.dataset.ago)) / 1000;
    const text = seconds < 1 ? "now" : `${durationText(seconds)} ago`;
    if (element.textContent !== text) element.textContent = text;
    const oldS = Number(element.dataset.oldS);
    if (oldS) element.closest(".age")?.classList.toggle("is-old", seconds > oldS);
  }
  const clock = document.getElementById("clock");
  if (clock) clock.textContent = new Date(now).toISOString().slice(11, 19);
}

export function startAges() {
  tick();
  setInterval(tick, 1000);
}
