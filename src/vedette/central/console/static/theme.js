// Applied before the first paint, so that a chosen theme never flashes. Classic script on purpose.
(() => {
  try {
    const chosen = localStorage.getItem("vedette.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; the system's theme is then the only one.
  }
})();
