// A clip with the boxes of its description drawn over it, in step with the picture that is shown:
// <vedette-player data-facts="…" data-file="clip.mp4" data-event-ms="…">. Without this script the
// video plays with the browser's own controls, without boxes. Text comes from devices: it is only
// ever set as text.

import { boxesAt, read, step, timeText } from "./player-facts.js";

const SVG = "http://www.w3.org/2000/svg";
const SKIP_S = 1;

function svg(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(label, title, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.title = title;
  made.addEventListener("click", run);
  return made;
}

class VedettePlayer extends HTMLElement {
  connectedCallback() {
    if (this.video) return;
    this.video = this.querySelector("video");
    this.over = this.querySelector(".over");
    this.said = this.querySelector(".said");
    this.showsBoxes = true;
    this.build();
    this.video.addEventListener("error", () => this.broken());
    if (this.video.error) this.broken();
    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, () => this.sayState());
    for (const name of ["seeked", "timeupdate", "loadedmetadata"]) {
      this.video.addEventListener(name, () => this.draw(this.video.currentTime));
    }
    this.follow();
    this.load();
  }

  async load() {
    try {
      const answers = await Promise.all([this.dataset.facts, this.dataset.blurred].map((url) => (url ? fetch(url) : null)));
      if (answers.some((answer) => answer && !answer.ok)) throw new Error("no description");
      const [facts, blurred] = await Promise.all(answers.map((answer) => answer?.json()));
      this.facts = read(facts, blurred, this.dataset.file, Number(this.dataset.eventMs));
    } catch {
      if (this.dataset.broken === undefined) this.say("The description of this clip cannot be read: the video plays without boxes.");
      return;
    }
    this.over.setAttribute("viewBox", `0 0 ${this.facts.px[0]} ${this.facts.px[1]}`);
    this.drawTimeline();
    this.dataset.ready = "";
    this.draw(this.video.currentTime);
  }

  // ------------------------------------------------------------------------------- controls

  build() {
    this.video.controls = false;
    const bar = document.createElement("div");
    bar.className = "bar";
    this.playing = button("Play", "Play or pause (space)", () => this.toggle());
    this.playing.className = "primary";
    this.boxes = button("Boxes", "Boxes on or off (b)", () => this.toggleBoxes());
    this.boxes.setAttribute("aria-pressed", "true");
    this.clock = document.createElement("output");
    this.clock.className = "clock";
    bar.append(
      this.playing,
      button("◂ 1 s", "One second back (left arrow)", () => this.skip(-SKIP_S)),
      button("◂ frame", "One picture back (shift and left arrow)", () => this.frame(-1)),
      button("frame ▸", "One picture on (shift and right arrow)", () => this.frame(1)),
      button("1 s ▸", "One second on (right arrow)", () => this.skip(SKIP_S)),
      this.boxes,
      this.clock,
    );
    this.line = svg("svg", { class: "windows", role: "slider", tabindex: "0", "aria-label": "time in the clip" });
    this.line.addEventListener("pointerdown", (event) => this.drag(event));
    this.querySelector(".stage").addEventListener("click", () => this.toggle());
    this.said.before(bar, this.line);
    this.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const onButton = event.target instanceof HTMLButtonElement;
    const runs = {
      " ": () => this.toggle(),
      ArrowLeft: () => (event.shiftKey ? this.frame(-1) : this.skip(-SKIP_S)),
      ArrowRight: () => (event.shiftKey ? this.frame(1) : this.skip(SKIP_S)),
      Home: () => this.seek(0),
      End: () => this.seek(this.video.duration || 0),
      b: () => this.toggleBoxes(),
    };
    if (!runs[event.key] || (onButton && event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation();
    runs[event.key]();
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => this.sayState());
    else this.video.pause();
  }

  toggleBoxes() {
    this.showsBoxes = !this.showsBoxes;
    this.boxes.setAttribute("aria-pressed", String(this.showsBoxes));
    this.draw(this.video.currentTime);
  }

  skip(by) {
    this.seek(this.video.currentTime + by);
  }

  frame(by) {
    this.video.pause();
    this.seek(step(this.video.currentTime, by, this.facts?.frameS ?? 0.04));
  }

  seek(to) {
    const end = Number.isFinite(this.video.duration) ? this.video.duration : 0;
    this.video.currentTime = Math.max(0, Math.min(to, end));
  }

  drag(event) {
    if (!this.facts) return;
    const there = (at) => {
      const box = this.line.getBoundingClientRect();
      const share = (at.clientX - box.left) / box.width;
      this.seek((this.facts.fromMs + share * (this.facts.toMs - this.facts.fromMs) - this.facts.startMs) / 1000);
    };
    there(event);
    this.line.setPointerCapture(event.pointerId);
    const end = new AbortController();
    this.line.addEventListener("pointermove", there, { signal: end.signal });
    for (const name of ["pointerup", "pointercancel"]) this.line.addEventListener(name, () => end.abort(), { signal: end.signal });
  }

  // ------------------------------------------------------------------------------- drawing

  follow() {
    if (!this.video.requestVideoFrameCallback) return; // Then `timeupdate` alone moves the boxes.
    const shown = (_now, frame) => {
      this.draw(frame.mediaTime);
      if (this.isConnected) this.video.requestVideoFrameCallback(shown);
    };
    this.video.requestVideoFrameCallback(shown);
  }

  draw(seconds) {
    if (!this.facts) return;
    const atMs = this.facts.startMs + seconds * 1000;
    const boxes = this.showsBoxes ? boxesAt(this.facts, atMs) : [];
    const size = Math.max(10, this.facts.px[0] / 36);
    this.over.replaceChildren(
      ...boxes.flatMap((box) => [
        svg("rect", { class: box.isMain ? "box main" : "box", x: box.x, y: box.y, width: box.width, height: box.height }),
        svg("text", { x: box.x, y: Math.max(size, box.y - size / 4), "font-size": size }, box.name),
      ]),
    );
    this.dataset.boxes = boxes.length;
    this.clock.textContent = `${timeText(atMs)} UTC`;
    const share = ((atMs - this.facts.fromMs) / (this.facts.toMs - this.facts.fromMs)) * 100;
    this.head?.setAttribute("x1", `${share}%`);
    this.head?.setAttribute("x2", `${share}%`);
    this.line.setAttribute("aria-valuenow", seconds.toFixed(2));
    this.line.setAttribute("aria-valuetext", `${seconds.toFixed(1)} s, ${boxes.length} boxes`);
  }

  drawTimeline() {
    const { fromMs, toMs, startMs, endMs, wanted, holes, eventMs } = this.facts;
    const at = (ms) => `${((ms - fromMs) / (toMs - fromMs)) * 100}%`;
    const wide = (a, b) => `${(Math.max(0, b - a) / (toMs - fromMs)) * 100}%`;
    const bar = (name, a, b, y, height, title) => {
      const made = svg("rect", { class: name, x: at(a), width: wide(a, b), y, height });
      made.append(svg("title", {}, title));
      return made;
    };
    this.head = svg("line", { class: "playhead", x1: "0%", x2: "0%", y1: 1, y2: 29 });
    this.line.replaceChildren(
      svg("rect", { class: "bar-ground", y: 4, width: "100%", height: 22, rx: 2 }),
      bar("actual", startMs, endMs, 6, 18, "in the clip"),
      ...holes.map((hole) => bar("hole", hole.window_ms[0], hole.window_ms[1], 6, 18, `no pictures: ${hole.cause}`)),
      ...(wanted ? [bar("wanted", wanted[0], wanted[1], 4.5, 21, "asked for")] : []),
      svg("line", { class: "moment", x1: at(eventMs), x2: at(eventMs), y1: 0, y2: 30 }),
      svg("text", { x: at(eventMs), y: 42, "text-anchor": "middle" }, "event"),
      this.head,
    );
    this.line.setAttribute("aria-valuemin", "0");
    this.line.setAttribute("aria-valuemax", ((endMs - startMs) / 1000).toFixed(2));
  }

  // ------------------------------------------------------------------------------- words

  sayState() {
    this.playing.textContent = this.video.paused ? "Play" : "Pause";
  }

  say(text) {
    this.said.textContent = text;
    this.said.hidden = !text;
  }

  broken() {
    this.dataset.broken = "";
    this.say("This browser cannot play the file: it is broken, or in a format it does not know. Download it and look at it elsewhere.");
  }
}

customElements.define("vedette-player", VedettePlayer);
