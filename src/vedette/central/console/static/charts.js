// Line charts with uPlot. A null breaks the line: a hole is never bridged and never zero. Nothing
// here decides what is shown; the server gives times, values, unit and budget.

const made = new Map();
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const NS = "http://www.w3.org/2000/svg";

// Canvas needs real colours; a probe resolves the style sheet's variables in the present theme.
function colour(variable) {
  const probe = document.createElement("i");
  probe.className = `probe-${variable}`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function utcText(seconds, long) {
  const text = new Date(seconds * 1000).toISOString();
  return long ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 16);
}

function fade(value, alpha) {
  const numbers = value.match(/[\d.]+/g);
  return numbers ? `rgb(${numbers.slice(0, 3).join(" ")} / ${alpha})` : value;
}

function options(element, data, names) {
  const ink = colour("dim");
  const accent = colour("accent");
  const rule = colour("rule");
  const down = colour("down");
  const spanS = data.to - data.from;
  const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
  return {
    width: Math.max(200, element.clientWidth),
    height: 166,
    legend: { show: false },
    cursor: { points: { size: 6 }, y: false },
    scales: { x: { time: true, range: () => [data.from, data.to] }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, data.budget ?? 0, 0.001) * 1.1] } },
    series: [
      {},
      ...names.map((name, index) => ({
        label: name, stroke: accent, width: 1.5, dash: DASHES[index % DASHES.length], spanGaps: false,
        fill: names.length === 1 ? fade(accent, 0.12) : undefined, points: { show: false },
      })),
    ],
    axes: [
      { ...axis, size: 28, space: 64, values: (_, ticks) => ticks.map((tick) => utcText(tick, spanS > 172800)) },
      { ...axis, size: 44, values: (_, ticks) => ticks.map((tick) => String(+tick.toFixed(2))) },
    ],
    hooks: {
      draw: [(plot) => drawHolesAndBudget(plot, data, colour("hatch"), down)],
      setCursor: [(plot) => say(element, plot, data, names)],
    },
  };
}

// Where every line is null, the ground is hatched: the reader sees that it was not measured.
function drawHolesAndBudget(plot, data, hatch, down) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const [from, to] of holes(data)) {
    const left = plot.valToPos(from, "x", true);
    const right = Math.max(plot.valToPos(to, "x", true), left + 2);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, right - left, bbox.height);
    ctx.clip();
    ctx.strokeStyle = hatch;
    ctx.globalAlpha = 0.55;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += 7 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
  if (data.budget) {
    const y = plot.valToPos(data.budget, "y", true);
    ctx.strokeStyle = down;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

function holes(data) {
  const lines = Object.values(data.lines);
  const out = [];
  let from = data.t.length && data.t[0] - data.from > data.to - data.t[data.t.length - 1] + 1 ? data.from : null;
  data.t.forEach((time, index) => {
    const empty = lines.every((line) => line[index] === null);
    if (empty && from === null) from = index ? data.t[index - 1] : data.from;
    if (!empty && from !== null) {
      out.push([from, time]);
      from = null;
    }
  });
  if (from !== null) out.push([from, data.to]);
  return out;
}

// Which line is which: a piece of it before its name.
function keyed(name, dash, is = "") {
  const picture = document.createElementNS(NS, "svg");
  const line = document.createElementNS(NS, "line");
  const whole = { class: `chart-key ${is}`, viewBox: "0 0 24 8", "aria-hidden": "true" };
  const drawn = { x1: 0, y1: 4, x2: 24, y2: 4, "stroke-dasharray": dash.join(" ") };
  Object.entries(whole).forEach(([key, value]) => picture.setAttribute(key, value));
  Object.entries(drawn).forEach(([key, value]) => line.setAttribute(key, value));
  picture.append(line);
  const key = document.createElement("span");
  key.append(picture, name);
  return key;
}

function say(element, plot, data, names) {
  const index = plot.cursor.idx;
  const line = element.querySelector(".chart-says");
  if (!line) return;
  if (index === null || index === undefined) {
    const named = names.length > 1 || !data.unit ? names.map((name, at) => keyed(name, DASHES[at % DASHES.length])) : [];
    if (data.budget) named.push(keyed("budget", [5, 4], "is-budget"));
    line.replaceChildren(data.unit.startsWith("/") ? "" : data.unit, ...named, "\u00a0");
    return;
  }
  const values = names.map((name) => {
    const value = data.lines[name][index];
    const text = value === null ? "no data" : `${+value.toFixed(2)} ${data.unit}`.trim();
    return names.length > 1 ? `${name} ${text}` : text;
  });
  line.textContent = `${utcText(data.t[index], true)} UTC: ${values.join(" · ")}`;
}

function draw(element) {
  const text = element.dataset.chart;
  const known = made.get(element);
  if (known?.text === text && element.contains(known.plot.root)) return;
  known?.plot.destroy();
  const data = JSON.parse(text);
  const names = Object.keys(data.lines);
  element.replaceChildren();
  const says = document.createElement("p");
  says.className = "chart-says note-line";
  says.setAttribute("aria-live", "polite");
  const rows = [data.t, ...names.map((name) => data.lines[name])];
  const plot = new window.uPlot(options(element, data, names), rows, element);
  element.append(says);
  made.set(element, { plot, text });
  say(element, plot, data, names);
}

function redraw(force) {
  for (const [element, { plot }] of made) {
    if (!element.isConnected) {
      plot.destroy();
      made.delete(element);
    } else if (force) {
      made.get(element).text = "";
    }
  }
  document.querySelectorAll("[data-chart]").forEach(draw);
}

function step(event) {
  const element = event.target.closest?.("[data-chart]");
  const plot = element && made.get(element)?.plot;
  if (!plot || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const last = plot.data[0].length - 1;
  const at = plot.cursor.idx ?? last + 1;
  const next = Math.min(last, Math.max(0, at + (event.key === "ArrowLeft" ? -1 : 1)));
  plot.setCursor({ left: plot.valToPos(plot.data[0][next], "x"), top: 10 });
  event.preventDefault();
}

export function startCharts() {
  if (!window.uPlot || !document.querySelector("[data-chart]")) return;
  redraw(false);
  document.addEventListener("htmx:after:swap", () => redraw(false));
  document.addEventListener("vedette:theme", () => redraw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(true));
  document.addEventListener("keydown", step);
  new ResizeObserver(() => {
    for (const [element, { plot }] of made) plot.setSize({ width: Math.max(200, element.clientWidth), height: 166 });
  }).observe(document.body);
}
