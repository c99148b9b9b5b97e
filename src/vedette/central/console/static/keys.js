// One registry of keys. Silent while somebody types or selects text; where a keyboard writes other
// letters, the key at the same place counts. `?` lists it, Ctrl-K finds anything. A screen's own
// module adds its keys with `registerKey`; the menu's keys stand on its links.

const KEYS = [
  { key: "?", says: "list these keys", run: () => openKeys() },
  { key: "k", ctrl: true, says: "find a site, device, camera, page or action", run: () => import("./palette.js").then((palette) => palette.openPalette()) },
  { key: "/", says: "to the filter of this page", run: () => focusOn("/") },
  { key: "t", says: "on a camera: ask for a new picture", run: () => focusOn("t") },
  { key: "n", says: "in a list: older entries", run: () => focusOn("n")?.click() },
  { key: "j", says: "next row", run: () => moveRow(1) },
  { key: "k", says: "previous row", run: () => moveRow(-1) },
];

export function registerKey(entry) {
  const at = KEYS.findIndex((known) => known.key === entry.key && Boolean(known.ctrl) === Boolean(entry.ctrl));
  if (at < 0) KEYS.push(entry);
  else KEYS[at] = entry; // A screen's own meaning of a key holds on its pages.
}

const menu = () => [...document.querySelectorAll(".nav a")];

function registerMenu() {
  for (const link of menu()) {
    const key = link.dataset.goto;
    if (key) registerKey({ key, says: `to ${link.textContent.trim().toLowerCase()}`, run: () => location.assign(link.href) });
  }
}

function focusOn(key) {
  const element = document.querySelector(`[data-key="${key}"]:not(:disabled)`);
  const fold = element?.closest(".filters")?.previousElementSibling;
  if (fold?.matches(".folds")) fold.open = true;
  element?.focus();
  element?.select?.();
  return element;
}

function moveRow(by) {
  const rows = [...document.querySelectorAll(".cam .name a, a.cell, .stack-table tbody tr td:first-child a")];
  const at = rows.indexOf(document.activeElement);
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

export function dialog(heading) {
  const box = document.createElement("dialog");
  box.setAttribute("aria-label", heading);
  const inside = document.createElement("div");
  inside.className = "inside";
  const title = document.createElement("h2");
  title.textContent = heading;
  inside.append(title);
  box.append(inside);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  return { box, inside };
}

function openKeys() {
  const { box, inside } = dialog("Keys");
  const table = document.createElement("table");
  for (const entry of KEYS) {
    const row = table.insertRow();
    const cell = row.insertCell();
    for (const name of entry.ctrl ? ["Ctrl", entry.key.toUpperCase()] : [entry.key]) {
      const key = document.createElement("kbd");
      key.textContent = name;
      cell.append(key, " ");
    }
    row.insertCell().textContent = entry.says;
  }
  inside.append(table);
  box.showModal();
}

function isTyping(target) {
  return target.closest?.("input, select, textarea, [contenteditable]") || String(getSelection());
}

// Which key was meant: the letter, or where the layout writes no Latin letter, the key's place.
function nameOf(event) {
  const key = event.key.toLowerCase();
  if (/^[\x20-\x7e]$/.test(key) || key.length > 1) return key;
  if (event.code.startsWith("Key")) return event.code.slice(3).toLowerCase();
  if (event.code === "Slash") return event.shiftKey ? "?" : "/";
  return key;
}

export function startKeys() {
  registerMenu();
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const name = nameOf(event);
    const entry = KEYS.find((known) => known.key === name && Boolean(known.ctrl) === event.ctrlKey);
    if (!entry || (!entry.ctrl && isTyping(event.target))) return;
    event.preventDefault();
    entry.run();
  });
}
