// The step page keeps itself fresh: it asks for what is newer, and loads the page anew where the
// step or the question changed. Without this script people press "Look again".

const step = document.getElementById("step");
const RETRY_MS = 2000;
let version = Number(step.dataset.version);

function text(id, value) {
  const element = document.getElementById(id);
  if (element && element.textContent !== value) element.textContent = value;
}

function picture(number) {
  const view = document.getElementById("view");
  if (!view || view.dataset.n === String(number)) return;
  // A new element replaces the old one once it has loaded: no flicker, and never two at once.
  if (view.dataset.loading) return;
  const next = new Image();
  view.dataset.loading = "1";
  next.onload = () => {
    next.id = "view";
    next.alt = view.alt;
    next.dataset.kind = view.dataset.kind;
    next.dataset.n = String(number);
    view.replaceWith(next);
  };
  next.onerror = () => delete view.dataset.loading;
  next.src = `/view.jpg?kind=${view.dataset.kind}&n=${number}`;
}

async function follow() {
  for (;;) {
    try {
      const answer = await fetch(`/state?after=${version}`, { headers: { Accept: "application/json" } });
      if (answer.status !== 200) return location.reload();
      const shown = await answer.json();
      const asked = document.querySelector("#question input[name=question]")?.value ?? "";
      const isNew = String(shown.question?.number ?? "") !== asked || shown.step !== step.dataset.step;
      const isFirst = shown.picture && !document.getElementById("view");
      // A number that is half typed is not taken away.
      if ((isNew || isFirst) && document.activeElement?.id !== "count") return location.reload();
      version = shown.version;
      text("words", shown.words);
      picture(shown.picture);
      const progress = document.getElementById("progress");
      if (shown.part !== null && progress.hidden) return location.reload();
      const bar = progress.querySelector("progress");
      if (bar && shown.part !== null) {
        bar.value = shown.part;
        bar.nextElementSibling.textContent = `${Math.round(shown.part * 100)}%`;
      }
    } catch {
      text("words", "The device does not answer; trying again.");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

follow();
