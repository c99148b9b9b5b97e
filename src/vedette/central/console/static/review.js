// Review by keys: each button says its own. A verdict is given once, however long a key is held.

import { registerKey } from "./keys.js";

// After the menu has its keys: here B is an answer, and no way to another page.
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-review-key]")) {
    registerKey({ key: button.dataset.reviewKey, says: button.dataset.says, run: () => button.click() });
  }
});

let isGiven = false;
document.addEventListener("submit", (event) => {
  if (isGiven) event.preventDefault();
  isGiven = true;
});
// Back in the browser's history the page is as it was: then a verdict may be given again.
addEventListener("pageshow", () => { isGiven = false; });
