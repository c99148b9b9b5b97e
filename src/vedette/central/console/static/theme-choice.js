// Light, dark, or as the system is: three steps of one button, kept in this browser.

const ORDER = ["system", "light", "dark"];

function current() {
  return document.documentElement.dataset.theme ?? "system";
}

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("vedette.theme");
    else localStorage.setItem("vedette.theme", theme);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  document.dispatchEvent(new CustomEvent("vedette:theme"));
}

export function startTheme() {
  const button = document.getElementById("theme");
  if (!button) return;
  const label = () => {
    button.textContent = { system: "Theme: auto", light: "Theme: light", dark: "Theme: dark" }[current()];
  };
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
    label();
  });
}
