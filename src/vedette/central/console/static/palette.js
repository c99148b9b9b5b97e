// The palette: any page, action, site, device or camera by a few letters. The server searches;
// what was opened lately stands first while nothing is typed. A combobox with a list of options
// (WAI-ARIA): focus stays in the field, the arrows move the option that is active.
import { dialog } from "./keys.js";

const RECENT = "vedette.recent";
const MOST_RECENT = 8;
const PAUSE_MS = 90; // Between letters of one who types.

function recent() {
  try {
    const kept = JSON.parse(localStorage.getItem(RECENT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((place) => typeof place?.text === "string" && String(place.href).startsWith("/")).slice(0, MOST_RECENT) : [];
  } catch {
    return []; // Storage may be forbidden: then nothing is remembered.
  }
}

function remember(place) {
  if (place.kind === "action" || place.kind === "here") return;
  try {
    const others = recent().filter((known) => known.href !== place.href);
    const { text, kind, href } = place;
    localStorage.setItem(RECENT, JSON.stringify([{ text, kind, href }, ...others].slice(0, MOST_RECENT)));
  } catch {
    // As above.
  }
}

// What can be done on this very page: elements that say so.
function actionsHere() {
  return [...document.querySelectorAll("[data-action]")]
    .filter((element) => !element.disabled && element.offsetParent !== null)
    .map((element) => ({ text: element.dataset.action, kind: "here", element }));
}

function has(words, place) {
  const text = `${place.text} ${place.kind}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function optionOf(place, index, choose) {
  const option = document.createElement("div");
  option.id = `palette-${index}`;
  option.className = "option";
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", String(index === 0));
  const text = document.createElement("span");
  text.textContent = place.text;
  const kind = document.createElement("small");
  kind.textContent = place.state && place.state !== "ok" ? `${place.kind} · ${place.state}` : place.kind;
  option.append(text, kind);
  option.addEventListener("click", () => choose(index));
  return option;
}

export function openPalette() {
  const { box, inside } = dialog("Find");
  box.classList.add("palette");
  const input = document.createElement("input");
  input.type = "text";
  input.autocomplete = "off";
  input.spellcheck = false;
  input.placeholder = "site, device, camera, page or action";
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-label": "Find", "aria-expanded": "true", "aria-controls": "palette-list",
    "aria-autocomplete": "list", "aria-activedescendant": "palette-0",
  })) input.setAttribute(name, value);
  const list = document.createElement("div");
  list.id = "palette-list";
  list.className = "palette-list";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "What was found");
  const says = document.createElement("p");
  says.className = "note-line";
  says.setAttribute("role", "status");
  inside.append(input, list, says);

  const here = actionsHere();
  let shown = [];
  let at = 0;
  let asked = 0;
  let pause = null;

  const activate = (index) => {
    if (!shown.length) return;
    at = (index + shown.length) % shown.length;
    for (const [n, option] of [...list.children].entries()) option.setAttribute("aria-selected", String(n === at));
    input.setAttribute("aria-activedescendant", `palette-${at}`);
    list.children[at].scrollIntoView({ block: "nearest" });
  };

  const choose = (index) => {
    const place = shown[index];
    if (!place) return;
    remember(place);
    box.close();
    if (!place.element) location.assign(place.href);
    else {
      place.element.focus();
      place.element.click();
    }
  };

  const show = (places) => {
    shown = places;
    list.replaceChildren(...places.map((place, index) => optionOf(place, index, choose)));
    says.textContent = places.length ? `${places.length} found: arrows choose, Enter opens` : "nothing found";
    activate(0);
  };

  const find = async () => {
    const number = ++asked;
    const typed = input.value.trim();
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    try {
      const answer = await fetch(`/places?q=${encodeURIComponent(typed)}`, { headers: { Accept: "application/json" } });
      if (number !== asked || !box.open) return; // Another letter was typed meanwhile.
      if (!answer.ok) throw new Error(String(answer.status));
      const found = await answer.json();
      if (number !== asked || !box.open) return;
      const first = words.length ? here.filter((place) => has(words, place)) : [...recent(), ...here];
      const known = new Set(first.map((place) => place.href).filter(Boolean));
      show([...first, ...found.filter((place) => !known.has(place.href))]);
    } catch {
      if (number === asked) says.textContent = "central does not answer";
    }
  };

  input.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(find, PAUSE_MS);
  });
  input.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (by) activate(Math.abs(by) === 1 ? at + by : Math.min(shown.length - 1, Math.max(0, at + by)));
    else if (event.key === "Home" && !input.value) activate(0);
    else if (event.key === "End" && !input.value) activate(-1);
    else if (event.key === "Enter") choose(at);
    else return;
    event.preventDefault();
  });
  box.showModal();
  input.focus();
  find();
}
