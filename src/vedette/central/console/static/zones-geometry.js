// Zones and lines as plain data: what is wrong with them, what was changed, how two people's changes
// become one. Pure, no page. Points are fractions of the picture; the words are the server's
// (central/api/geometry.py, central/settings_words.py), held to them by tests/browser/test_camera.py.

export const turn = (a, b, c) => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));

const same = (a, b) => a[0] === b[0] && a[1] === b[1];

const within = (a, b, p) =>
  Math.min(a[0], b[0]) <= p[0] && p[0] <= Math.max(a[0], b[0]) && Math.min(a[1], b[1]) <= p[1] && p[1] <= Math.max(a[1], b[1]);

// Whether the stretch from a to b has a point in common with the one from c to d.
export function meet(a, b, c, d) {
  const sides = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  if (sides[0] !== sides[1] && sides[2] !== sides[3]) return true;
  const ends = [[a, b, c], [a, b, d], [c, d, a], [c, d, b]];
  return ends.some((end, n) => sides[n] === 0 && within(...end));
}

// Whether the way from a over b to c turns back onto itself, or does not leave a corner.
export function folds(a, b, c) {
  if (same(a, b) || same(b, c)) return true;
  const towards = (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1]);
  return turn(a, b, c) === 0 && towards > 0;
}

// The numbers, from 1, of the first two edges that meet elsewhere than at a corner; or null.
export function crossing(polygon) {
  const n = polygon.length;
  for (let i = 0; i < n; i += 1) {
    const [a, b] = [polygon[i], polygon[(i + 1) % n]];
    for (let j = i + 1; j < n; j += 1) {
      const [c, d] = [polygon[j], polygon[(j + 1) % n]];
      let crosses;
      if (j === i + 1) crosses = folds(a, b, d);
      else if (i === 0 && j === n - 1) crosses = folds(c, a, b);
      else crosses = meet(a, b, c, d);
      if (crosses) return [i + 1, j + 1];
    }
  }
  return null;
}

export function area(polygon) {
  let sum = 0;
  polygon.forEach(([x1, y1], n) => {
    const [x2, y2] = polygon[(n + 1) % polygon.length];
    sum += x1 * y2 - x2 * y1;
  });
  return sum / 2;
}

// ------------------------------------------------------------------------------------ complaints

export const LIMITS = { corners: 32, shapes: 32, area: 0.0001, loiter_s: 600, confirm_s: 60 };

const SLUG = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;

// A name between quotes, as the server writes it.
function quoted(text) {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r");
  return quote + (quote === "'" ? inside.replaceAll("'", "\\'") : inside) + quote;
}

export function complaints(settings) {
  const zones = settings.zones ?? [];
  const lines = settings.lines ?? [];
  const names = [...zones, ...lines].map((shape) => shape.name);
  const out = names.filter((name) => !SLUG.test(name)).map((name) => `${quoted(name)} cannot be a name: use a-z 0-9 . _ -`);
  for (const name of [...new Set(names)].sort()) {
    if (names.filter((one) => one === name).length > 1) out.push(`two zones or lines are named ${quoted(name)}`);
  }
  if (names.length > LIMITS.shapes) out.push(`at most ${LIMITS.shapes} zones and lines on one camera`);
  zones.forEach((zone) => out.push(...ofZone(zone)));
  lines.forEach((line) => out.push(...ofLine(line)));
  if (settings.threshold !== null && settings.threshold !== undefined && !(settings.threshold > 0 && settings.threshold < 1)) {
    out.push("a threshold lies between 0 and 1, for example 0.4");
  }
  for (const [start, end] of settings.off_hours ?? []) {
    if (!isTime(start) || !isTime(end)) out.push(`off hours ${quoted(start)} to ${quoted(end)}: write times as 22:00`);
    else if (start === end) out.push("off hours that begin and end at the same time are no hours");
  }
  return out;
}

const isTime = (text) => /^([01]\d|2[0-3]):[0-5]\d$/.test(text);

const given = (value) => value !== null && value !== undefined;

function ofZone(zone) {
  const what = `zone ${zone.name}`;
  if (zone.polygon.length < 3 || zone.polygon.length > LIMITS.corners) return [`${what}: a polygon has 3 to ${LIMITS.corners} corners`];
  let out = outside(what, zone.polygon);
  if (!out.length) out = outline(what, zone.polygon);
  if (given(zone.dwell_s) && !(zone.dwell_s > 0 && zone.dwell_s <= 86400)) out.push(`${what}: dwell_s lies between 0 and 86400 seconds`);
  if (given(zone.loiter_s) && !(zone.loiter_s > 0 && zone.loiter_s <= LIMITS.loiter_s)) out.push(`${what}: loiter_s lies between 0 and ${LIMITS.loiter_s} seconds`);
  if (given(zone.heading_deg) && !(zone.heading_deg >= -360 && zone.heading_deg <= 360)) out.push(`${what}: heading_deg is 0 for right, 90 down, 180 left, 270 up`);
  const tolerance = zone.heading_tolerance_deg ?? 45;
  if (!(tolerance > 0 && tolerance <= 180)) out.push(`${what}: heading_tolerance_deg lies between 0 and 180`);
  return out;
}

function outline(what, polygon) {
  const out = Math.abs(area(polygon)) < LIMITS.area ? [`${what}: it has no area`] : [];
  const crossed = crossing(polygon);
  if (crossed) out.push(`${what}: its edges ${crossed[0]} and ${crossed[1]} cross; move or remove a corner`);
  return out;
}

function ofLine(line) {
  const what = `line ${line.name}`;
  const out = outside(what, [line.a, line.b]);
  if (same(line.a, line.b)) out.push(`${what}: its ends are the same point`);
  const confirm = line.confirm_s ?? 0;
  if (!(confirm >= 0 && confirm <= LIMITS.confirm_s)) out.push(`${what}: confirm_s lies between 0 and ${LIMITS.confirm_s} seconds`);
  return out;
}

function outside(what, points) {
  const good = points.every(([x, y]) => x >= 0 && x <= 1 && y >= 0 && y <= 1);
  return good ? [] : [`${what}: points are fractions of width and height, 0 to 1`];
}

// ------------------------------------------------------------------------------------- settings

export const USUAL = {
  zones: { labels: [], dwell_s: null, events: true, evidence: false, loiter_s: null, heading_deg: null, heading_tolerance_deg: 45, shelf: false },
  lines: { labels: [], events: true, evidence: false, confirm_s: 0 },
};

// Every field there, so that two states compare. Zones or lines that are null are the device's own.
export function whole(settings) {
  const of = (kind) => settings[kind]?.map((shape) => ({ ...USUAL[kind], ...shape })) ?? null;
  return {
    zones: of("zones"), lines: of("lines"), threshold: settings.threshold ?? null, labels: settings.labels ?? null,
    off_hours: settings.off_hours ?? null, regions: settings.regions ?? null,
  };
}

// Settings to draw on.
export function opened(settings) {
  return structuredClone({ ...settings, zones: settings.zones ?? [], lines: settings.lines ?? [] });
}

// What would be saved: what was left to the device stays so until something is drawn.
export function closed(state, base) {
  const of = (kind) => (state[kind].length || base[kind] ? state[kind] : null);
  return structuredClone({ ...state, zones: of("zones"), lines: of("lines") });
}

// --------------------------------------------------------------------------------- what changed

const FIELDS = [
  ["labels", "classes", "", []], ["dwell_s", "long stay", " s", null], ["loiter_s", "loitering", " s", null],
  ["heading_deg", "watched way", "°", null], ["heading_tolerance_deg", "tolerance", "°", 45], ["confirm_s", "confirmation", " s", 0],
  ["events", "events", "", true], ["evidence", "clips", "", false], ["shelf", "shelf", "", false],
];

const alike = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

function said(value, unit) {
  if (Array.isArray(value)) return value.map((one) => one.slice(0, 60)).join(", ") || "all";
  if (value === null || value === undefined) return "off";
  if (typeof value === "boolean") return value ? "on" : "off";
  return `${Number(value.toPrecision(6))}${unit}`;
}

// What `after` changes of `before`, one sentence each: zones, lines, threshold and classes.
export function changes(before, after) {
  const out = [...ofShapes("zone", before.zones, after.zones), ...ofShapes("line", before.lines, after.lines)];
  if (!alike(before.threshold, after.threshold)) {
    const word = (value) => (given(value) ? said(value, "") : "as the device has it");
    out.push(`threshold ${word(before.threshold)} → ${word(after.threshold)}`);
  }
  if (!alike(before.labels, after.labels)) {
    const word = (value) => (given(value) ? said(value, "") : "as the device has them");
    out.push(`classes of the camera ${word(before.labels)} → ${word(after.labels)}`);
  }
  if (!alike(before.off_hours, after.off_hours)) {
    const word = (value) => (given(value) ? value.map(([start, end]) => `${start}-${end}`).join(", ") || "none" : "as the device has them");
    out.push(`off hours ${word(before.off_hours)} → ${word(after.off_hours)}`);
  }
  if (!alike(before.regions, after.regions)) out.push("the regions that are looked at changed");
  return out;
}

function ofShapes(kind, before, after) {
  if (alike(before, after)) return [];
  if (!given(after)) return [`${kind}s are left to the device`];
  const was = new Map((before ?? []).map((one) => [one.name, one]));
  const now = new Map(after.map((one) => [one.name, one]));
  const out = [];
  for (const name of was.keys()) if (!now.has(name)) out.push(`${kind} ${name} taken away`);
  for (const [name, one] of now) {
    if (!was.has(name)) out.push(`${kind} ${name} added`);
    else {
      const found = details(was.get(name), one);
      if (found.length) out.push(`${kind} ${name}: ${found.join(", ")}`);
    }
  }
  if (out.length) return out;
  return [before?.length ? `${kind}s in another order` : `no ${kind}s, whatever the device has`];
}

function details(was, now) {
  const out = [];
  if (was.polygon && now.polygon && !alike(was.polygon, now.polygon)) {
    const [before, after] = [was.polygon.length, now.polygon.length];
    out.push(before === after ? "outline moved" : `outline moved (${before} → ${after} corners)`);
  }
  if (was.a && now.a && !alike([was.a, was.b], [now.a, now.b])) {
    out.push(alike([was.a, was.b], [now.b, now.a]) ? "turned around" : "moved");
  }
  for (const [name, word, unit, usual] of FIELDS) {
    const [before, after] = [was[name] ?? usual, now[name] ?? usual];
    if (!alike(before, after)) out.push(`${word} ${said(before, unit)} → ${said(after, unit)}`);
  }
  return out;
}

// Theirs, with what `mine` changed of `base` on top, one zone, line or setting at a time. `both`
// names what both changed: there, mine stands.
export function merged(base, mine, theirs) {
  const both = [];
  const result = { ...theirs };
  for (const kind of ["zones", "lines"]) {
    if (alike(base[kind], mine[kind])) continue;
    if (!given(mine[kind])) {
      result[kind] = null;
      continue;
    }
    const [was, ours, others] = [base, mine, theirs].map((one) => new Map((one[kind] ?? []).map((shape) => [shape.name, shape])));
    for (const name of new Set([...was.keys(), ...ours.keys()])) {
      if (alike(was.get(name), ours.get(name))) continue;
      if (!alike(was.get(name), others.get(name)) && !alike(ours.get(name), others.get(name))) both.push(`${kind.slice(0, -1)} ${name}`);
      if (ours.has(name)) others.set(name, ours.get(name));
      else others.delete(name);
    }
    result[kind] = [...others.values()];
  }
  for (const name of ["threshold", "labels", "off_hours", "regions"]) {
    if (alike(base[name], mine[name])) continue;
    if (!alike(base[name], theirs[name]) && !alike(mine[name], theirs[name])) both.push(name);
    result[name] = mine[name];
  }
  return { settings: result, both };
}

// -------------------------------------------------------------------------------------- drawing

export const clamp = (value) => Math.min(1, Math.max(0, value));

// Fractions finer than a tenth of a thousandth are a hand's tremble.
export const rounded = (value) => Math.round(clamp(value) * 10000) / 10000;

export const moved = ([x, y], dx, dy) => [rounded(x + dx), rounded(y + dy)];

export const middle = (a, b) => [rounded((a[0] + b[0]) / 2), rounded((a[1] + b[1]) / 2)];

// All points by the same step, as far as the picture goes: a shape keeps its form at the border.
export function movedAll(points, dx, dy) {
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const sx = Math.min(Math.max(dx, -Math.min(...xs)), 1 - Math.max(...xs));
  const sy = Math.min(Math.max(dy, -Math.min(...ys)), 1 - Math.max(...ys));
  return points.map(([x, y]) => [rounded(x + sx), rounded(y + sy)]);
}

export function inside(polygon, [x, y]) {
  let odd = false;
  polygon.forEach(([x1, y1], n) => {
    const [x2, y2] = polygon[(n + 1) % polygon.length];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
  });
  return odd;
}

// The arrow of "forward": from the middle of the line to its right, in a picture `height` high and
// 1000 wide; [from, to] in those units.
export function arrow(a, b, height, length = 60) {
  const [dx, dy] = [(b[0] - a[0]) * 1000, (b[1] - a[1]) * height];
  const size = Math.hypot(dx, dy) || 1;
  const from = [((a[0] + b[0]) / 2) * 1000, ((a[1] + b[1]) / 2) * height];
  return [from, [from[0] - (dy / size) * length, from[1] + (dx / size) * length]];
}

export function distanceTo([px, py], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const at = Math.min(1, Math.max(0, ((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(px - ax - at * dx, py - ay - at * dy);
}

// A name that is not taken: zone-1, zone-2 …
export function freeName(kind, names) {
  for (let n = 1; ; n += 1) if (!names.includes(`${kind}-${n}`)) return `${kind}-${n}`;
}
