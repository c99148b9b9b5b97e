// What keeps a drawing from being lost: a draft in this browser until it is saved, and the question
// when somebody else saved first. No state of its own.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") Object.entries(value).forEach(([type, run]) => made.addEventListener(type, run));
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const button = (says, run, more = {}) => element("button", { type: "button", ...more, on: { click: run } }, says);

const draftName = () => `vedette.zones ${location.pathname}`;

// Keep what is not saved; null: everything is.
export function keepDraft(draft) {
  try {
    if (draft) sessionStorage.setItem(draftName(), JSON.stringify(draft));
    else sessionStorage.removeItem(draftName());
  } catch {
    // Storage may be forbidden; what is not saved then lasts as long as the page.
  }
}

export function readDraft() {
  try {
    return JSON.parse(sessionStorage.getItem(draftName()));
  } catch {
    return null; // Nothing was kept, or nothing that can be read.
  }
}

// Fill the box that asks what shall become of two people's changes.
export function askWhich(box, { who, version, theirs, mine, both, put, take }) {
  const list = (items) => element("ul", {}, ...items.map((text) => element("li", {}, text)));
  box.replaceChildren(
    element("b", {}, `${who} saved version ${version} while you were drawing. Nothing of yours is lost.`),
    element("p", {}, "They changed:"), list(theirs), element("p", {}, "You changed:"), list(mine),
    ...(both.length ? [element("p", {}, `Both of you changed ${both.join(", ")}: there, yours would stand.`)] : []),
    element("div", { class: "zed-bar" }, button("Put mine on top of theirs", put), button("Take theirs, drop mine", take)));
  box.hidden = false;
}
