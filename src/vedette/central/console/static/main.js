// What every signed-in page starts. Each part lives in its own module and does nothing on a page
// that has nothing for it.
import { startAges } from "./ages.js";
import { startCharts } from "./charts.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startTheme } from "./theme-choice.js";

const start = () => {
  startTheme();
  startAges();
  startCharts();
  startLive();
  startKeys();
};

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
