// The fields beside the picture: what the selected zone or line is called and does, and what holds
// for the whole camera. Here only markup and reading; `zones.js` keeps the state.

const ZONE = [
  { name: "name", says: "Name", kind: "text", hint: "a-z 0-9 . _ -" },
  { name: "labels", says: "Classes", kind: "words", hint: "with commas; empty: all" },
  { name: "dwell_s", says: "Long stay after, s", kind: "number", hint: "an event; empty: none" },
  { name: "loiter_s", says: "Loitering after, s", kind: "number", hint: "visits of 10 minutes summed; empty: none" },
  { name: "heading_deg", says: "Watched way, °", kind: "number", hint: "0 right, 90 down, 180 left, 270 up; empty: none" },
  { name: "heading_tolerance_deg", says: "Tolerance, °", kind: "number", usual: 45 },
  { name: "events", says: "Events for coming and going", kind: "check" },
  { name: "evidence", says: "Keep a clip with each event", kind: "check" },
  { name: "shelf", says: "A shelf: tell picks", kind: "check" },
];
const LINE = [
  { name: "name", says: "Name", kind: "text", hint: "a-z 0-9 . _ -" },
  { name: "labels", says: "Classes", kind: "words", hint: "with commas; empty: all" },
  { name: "confirm_s", says: "Confirmation, s", kind: "number", usual: 0, hint: "counts once the far side was kept so long" },
  { name: "events", says: "Events for crossings", kind: "check" },
  { name: "evidence", says: "Keep a clip with each event", kind: "check" },
];
const CAMERA = [
  { name: "threshold", says: "Threshold", kind: "number", step: 0.01, hint: "0 to 1; empty: the device's own" },
  { name: "labels", says: "Classes looked for", kind: "words", nullable: true, hint: "with commas; empty: the device's own" },
  { name: "off_hours", says: "Off hours", kind: "hours", hint: "as 22:00-06:00, by the site's clock; empty: the device's own" },
];

export const fieldsOf = (kind) => ({ zones: ZONE, lines: LINE, camera: CAMERA })[kind];

function text(field, value) {
  if (value === null || value === undefined) return "";
  if (field.kind === "words") return value.join(", ");
  if (field.kind === "hours") return value.map(([start, end]) => `${start}-${end}`).join(", ");
  return String(value);
}

const words = (typed) => typed.split(",").map((word) => word.trim()).filter(Boolean);

function read(field, input) {
  const typed = input.value.trim();
  if (field.kind === "check") return input.checked;
  if (field.kind === "text") return typed;
  if (field.kind === "number") return typed === "" ? field.usual ?? null : Number(typed);
  if (field.kind === "hours") return typed === "" ? null : words(typed).map((word) => [word.split("-")[0].trim(), word.split("-").slice(1).join("-").trim()]);
  return typed === "" && field.nullable ? null : words(typed);
}

let made = 0;

// Return a fieldset for `values`; `change(name, value)` is called with what was typed.
export function fieldset(title, kind, values, change) {
  const box = document.createElement("fieldset");
  box.dataset.kind = kind;
  const legend = document.createElement("legend");
  legend.textContent = title;
  box.append(legend);
  for (const field of fieldsOf(kind)) box.append(row(field, values, change));
  return box;
}

function row(field, values, change) {
  const box = document.createElement("div");
  box.className = field.kind === "check" ? "zed-check" : "zed-field";
  const id = `zed-${(made += 1)}`;
  const input = document.createElement("input");
  Object.assign(input, { id, name: field.name, type: { check: "checkbox", number: "number" }[field.kind] ?? "text" });
  if (field.kind === "number") input.step = field.step ?? "any";
  if (input.type === "text") Object.assign(input, { maxLength: field.kind === "text" ? 64 : 400, spellcheck: false, autocomplete: "off" });
  const says = document.createElement("label");
  says.textContent = field.says;
  says.htmlFor = id;
  box.append(...(field.kind === "check" ? [input, says] : [says, input]));
  if (field.hint) {
    const hint = document.createElement("small");
    hint.textContent = field.hint;
    hint.id = `${id}-hint`;
    input.setAttribute("aria-describedby", hint.id);
    box.append(hint);
  }
  input.addEventListener("input", () => change(field.name, read(field, input)));
  fill(input, field, values);
  return box;
}

function fill(input, field, values) {
  if (field.kind === "check") input.checked = Boolean(values[field.name]);
  else input.value = text(field, values[field.name]);
}

// Show other values in a fieldset without touching what somebody is typing in.
export function refill(box, values) {
  for (const field of fieldsOf(box.dataset.kind)) {
    const input = box.querySelector(`[name="${field.name}"]`);
    if (input !== document.activeElement) fill(input, field, values);
  }
}
