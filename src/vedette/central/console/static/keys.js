// One registry of keys. Silent while somebody types or selects text. `?` lists it, Ctrl-K finds
// any page, site, device or camera.

const KEYS = [
  { key: "?", says: "list these keys", run: () => openKeys() },
  { key: "k", ctrl: true, says: "find a camera, device, site or page", run: () => openPalette() },
  { key: "g", says: "to the fleet", run: () => location.assign("/") },
  { key: "e", says: "to the events", run: () => location.assign("/events") },
  { key: "/", says: "to the filter of this page", run: () => focusOn("/") },
  { key: "t", says: "on a camera: ask for a new picture", run: () => focusOn("t") },
  { key: "n", says: "in a list: older entries", run: () => focusOn("n")?.click() },
  { key: "j", says: "next row", run: () => moveRow(1) },
  { key: "k", says: "previous row", run: () => moveRow(-1) },
];

function focusOn(key) {
  const element = document.querySelector(`[data-key="${key}"]:not(:disabled)`);
  element?.focus();
  element?.select?.();
  return element;
}

function moveRow(by) {
  const rows = [...document.querySelectorAll(".cam .name a, .stack-table tbody tr td:first-child a")];
  const at = rows.indexOf(document.activeElement);
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function dialog(heading) {
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
    for (const name of entry.ctrl ? ["Ctrl", "K"] : [entry.key]) {
      const key = document.createElement("kbd");
      key.textContent = name;
      cell.append(key, " ");
    }
    row.insertCell().textContent = entry.says;
  }
  inside.append(table);
  box.showModal();
}

async function openPalette() {
  const { box, inside } = dialog("Find");
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "camera, device, site or page";
  input.setAttribute("aria-label", "Find");
  const list = document.createElement("div");
  list.className = "palette-list";
  inside.append(input, list);
  box.showModal();
  input.focus();
  const pages = [
    { text: "Fleet", kind: "page", href: "/" },
    { text: "Events", kind: "page", href: "/events" },
    { text: "Account", kind: "page", href: "/account" },
  ];
  let places = pages;
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = places.filter((place) => words.every((word) => `${place.text} ${place.kind}`.toLowerCase().includes(word)));
    list.replaceChildren(...found.slice(0, 30).map((place, index) => {
      const link = document.createElement("a");
      link.href = place.href;
      link.setAttribute("aria-selected", String(index === 0));
      const kind = document.createElement("small");
      kind.textContent = place.kind;
      link.append(place.text, kind);
      return link;
    }));
  };
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    const links = [...list.children];
    const at = links.findIndex((link) => link.getAttribute("aria-selected") === "true");
    if (event.key === "Enter") links[at]?.click();
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    links[at]?.setAttribute("aria-selected", "false");
    const next = links[Math.min(links.length - 1, Math.max(0, at + by))];
    next?.setAttribute("aria-selected", "true");
    next?.scrollIntoView({ block: "nearest" });
  });
  show();
  const answer = await fetch("/places", { headers: { Accept: "application/json" } });
  if (answer.ok) {
    places = [...pages, ...(await answer.json())];
    show();
  }
}

function isTyping(target) {
  return target.closest?.("input, select, textarea, [contenteditable]") || String(getSelection());
}

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const entry = KEYS.find((known) => known.key === event.key.toLowerCase() && Boolean(known.ctrl) === event.ctrlKey);
    if (!entry || (!entry.ctrl && isTyping(event.target))) return;
    event.preventDefault();
    entry.run();
  });
}
