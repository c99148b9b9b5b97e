// The editor of zones and lines: <vedette-zones data-zones="{…}">. Keeps what is drawn, every step
// back and forth, and what is not saved yet (in this browser, until it is). The server decides and
// signs; two people at once are told of each other and lose nothing.

import { USUAL, changes, closed, complaints, freeName, merged, middle, moved, movedAll, opened, rounded, whole } from "./zones-geometry.js";
import { fieldset, refill } from "./zones-form.js";
import { askWhich, button, element, keepDraft, readDraft } from "./zones-keeping.js";
import { Scene, pointsOf } from "./zones-scene.js";

const STEP = 0.005;
const FAR = 0.05;
const STEPS_KEPT = 200;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const copy = (value) => structuredClone(value);

class VedetteZones extends HTMLElement {
  connectedCallback() {
    if (this.scene) return;
    this.data = JSON.parse(this.dataset.zones);
    this.base = { version: this.data.version, settings: whole(this.data.settings) };
    this.state = opened(this.base.settings);
    this.selected = null;
    this.back = [];
    this.forth = [];
    this.joins = "";
    this.refusals = [];
    this.build();
    this.restoreDraft();
    if (!this.selected && this.state.zones.length) this.selected = { kind: "zones", index: 0 };
    this.render();
    new ResizeObserver(() => this.scene.draw(this.state, this.selected)).observe(this.scene.svg);
    document.addEventListener("htmx:after:swap", () => this.lookForOthers());
  }

  closed() {
    return closed(this.state, this.base.settings);
  }

  // ------------------------------------------------------------------------------ the elements

  build() {
    const old = this.querySelector("svg.scene");
    const svg = old.cloneNode(true);
    svg.querySelectorAll(".zone, .line, .of-zone").forEach((mark) => mark.remove());
    svg.classList.add("zed-scene");
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "The picture with zones and lines. Tab goes from corner to corner, arrows move.");
    this.pills = element("div", { class: "zed-pills", role: "group", "aria-label": "Zones and lines" });
    this.undoButton = button("Undo", () => this.undo(), { title: "Ctrl+Z" });
    this.redoButton = button("Redo", () => this.redo(), { title: "Ctrl+Y" });
    this.ownButton = button("Begin with the device's own", () => this.beginWithOwn(), { title: "Copies what is dashed, to be changed and saved here" });
    const bar = element("div", { class: "zed-bar", role: "toolbar", "aria-label": "Drawing" },
      button("+ Zone", () => this.add("zones")), button("+ Line", () => this.add("lines")), this.ownButton, this.undoButton, this.redoButton);
    this.side = element("div", { class: "zed-side" });
    this.wrong = element("ul", { class: "zed-wrong", role: "status", "aria-live": "polite", "aria-label": "What cannot be so" });
    this.said = element("p", { class: "zed-said", role: "status", "aria-live": "polite" });
    this.conflict = element("div", { class: "problem-box zed-conflict", role: "alert" });
    this.conflict.hidden = true;
    this.unsaved = element("details", { class: "zed-unsaved" }, element("summary"), element("ul"));
    this.saveButton = button("Save", () => this.save(), { class: "primary" });
    this.dropButton = button("Discard", () => this.discard());
    const help = element("p", { class: "note-line" }, "Drag corners; drag a small dot on an edge for another corner. Keys on a corner: arrows move by 0.5 %, with Shift by 5 %, Insert adds, Delete removes, Escape takes back.");
    const foot = element("div", { class: "zed-foot" }, this.conflict, this.wrong, this.unsaved, element("div", { class: "zed-bar" }, this.saveButton, this.dropButton, this.said));
    const stage = element("div", { class: "zed-stage" }, bar, this.pills, svg, help, foot);
    this.replaceChildren(element("div", { class: "zed" }, stage, this.side));
    this.scene = new Scene(svg, this.data.height);
    svg.addEventListener("pointerdown", (event) => this.grab(event));
    // `touch-action` does not hold for shapes inside a picture; elsewhere on it a finger scrolls.
    svg.addEventListener("touchstart", (event) => this.dragging && event.preventDefault(), { passive: false });
    svg.addEventListener("pointermove", (event) => this.drag(event));
    svg.addEventListener("pointerup", () => this.drop());
    svg.addEventListener("pointercancel", () => this.takeBack());
    svg.addEventListener("focusin", (event) => this.remember(event));
    this.addEventListener("keydown", (event) => this.key(event));
  }

  render() {
    this.scene.draw(this.state, this.selected);
    this.renderPills();
    this.renderSide();
    const wrong = [...complaints(this.state), ...this.refusals];
    this.wrong.replaceChildren(...wrong.map((text) => element("li", { class: "over" }, text)));
    const different = this.changes();
    this.unsaved.hidden = !different.length;
    this.unsaved.firstChild.textContent = `${different.length} unsaved ${different.length === 1 ? "change" : "changes"}`;
    this.unsaved.lastChild.replaceChildren(...different.map((text) => element("li", {}, text)));
    this.ownButton.hidden = !this.ownKinds().length;
    this.undoButton.disabled = !this.back.length;
    this.redoButton.disabled = !this.forth.length;
    this.saveButton.disabled = Boolean(wrong.length) || !different.length || this.isSaving;
    this.dropButton.disabled = !different.length;
    keepDraft(different.length ? { base: this.base, state: this.state } : null);
  }

  // Zones, lines: of which the device has its own, and nothing is drawn here yet.
  ownKinds() {
    return ["zones", "lines"].filter((kind) => this.data.own?.[kind]?.length && !this.state[kind].length);
  }

  beginWithOwn() {
    const [own, kinds] = [whole(this.data.own), this.ownKinds()];
    this.step("", () => {
      kinds.forEach((kind) => { this.state[kind] = copy(own[kind]); });
      this.selected = { kind: kinds[0], index: 0 };
    });
  }

  changes() {
    return changes(this.base.settings, this.closed());
  }

  renderPills() {
    const pills = ["zones", "lines"].flatMap((kind) => this.state[kind].map((shape, index) => {
      const is = this.selected?.kind === kind && this.selected.index === index;
      return button(`${kind === "zones" ? "▱" : "→"} ${shape.name || "unnamed"}`, () => this.select({ kind, index }), { "aria-pressed": String(is), "data-pill": `${kind}:${index}` });
    }));
    const focused = document.activeElement?.dataset?.pill;
    if (!pills.length) pills.push(element("span", { class: "dim" }, "Nothing is drawn here yet."));
    this.pills.replaceChildren(...pills);
    if (focused) this.pills.querySelector(`[data-pill="${focused}"]`)?.focus();
  }

  renderSide() {
    const shape = this.shape();
    const form = JSON.stringify(this.selected);
    if (this.side.dataset.form === form) {
      this.side.querySelectorAll("fieldset").forEach((box) => refill(box, box.dataset.kind === "camera" ? this.state : shape));
      return;
    }
    this.side.dataset.form = form;
    const parts = [];
    if (shape) {
      const { kind } = this.selected;
      const box = fieldset(kind === "zones" ? "Zone" : "Line", kind, shape, (name, value) => this.step(`${kind}.${name}`, () => { this.shape()[name] = value; }));
      if (kind === "lines") box.append(button("Turn around", () => this.step("", () => { const one = this.shape(); [one.a, one.b] = [one.b, one.a]; })));
      box.append(button(kind === "zones" ? "Remove this zone" : "Remove this line", () => this.remove()));
      parts.push(box);
    }
    parts.push(fieldset("The whole camera", "camera", this.state, (name, value) => this.step(`camera.${name}`, () => { this.state[name] = value; })));
    this.side.replaceChildren(...parts);
  }

  // ------------------------------------------------------------------------------- steps

  shape() {
    return this.selected ? this.state[this.selected.kind][this.selected.index] : null;
  }

  select(selected) {
    this.selected = selected;
    this.joins = "";
    this.render();
  }

  // Do something that can be taken back; steps with the same `joins` are one.
  step(joins, run) {
    if (!joins || joins !== this.joins) {
      this.back.push(copy({ state: this.state, selected: this.selected }));
      if (this.back.length > STEPS_KEPT) this.back.shift();
    }
    this.joins = joins;
    this.forth = [];
    this.refusals = [];
    run();
    this.render();
  }

  undo() {
    this.walk(this.back, this.forth);
  }

  redo() {
    this.walk(this.forth, this.back);
  }

  walk(from, to) {
    const there = from.pop();
    if (!there) return;
    to.push(copy({ state: this.state, selected: this.selected }));
    Object.assign(this, { ...there, joins: "" });
    this.render();
  }

  add(kind) {
    const name = freeName(kind.slice(0, -1), [...this.state.zones, ...this.state.lines].map((one) => one.name));
    const at = (this.state[kind].length % 5) * 0.03;
    const [low, high] = [rounded(0.3 + at), rounded(0.7 + at)];
    const points = kind === "zones" ? { polygon: [[low, low], [high, low], [high, high], [low, high]] } : { a: [low, 0.5], b: [high, 0.5] };
    this.step("", () => {
      this.state[kind].push({ ...copy(USUAL[kind]), name, ...points });
      this.selected = { kind, index: this.state[kind].length - 1 };
    });
    this.scene.focus(0);
  }

  remove() {
    this.step("", () => {
      this.state[this.selected.kind].splice(this.selected.index, 1);
      this.selected = null;
    });
    this.pills.querySelector("button")?.focus();
  }

  setPoint(number, point) {
    const shape = this.shape();
    if (shape.polygon) shape.polygon[number] = point;
    else shape[number ? "b" : "a"] = point;
  }

  setPoints(points) {
    const shape = this.shape();
    if (shape.polygon) shape.polygon = points;
    else [shape.a, shape.b] = points;
  }

  // ------------------------------------------------------------------------------ pointer, keys

  grab(event) {
    if (event.button > 0) return;
    const found = this.scene.under(event, this.state, this.selected);
    if (!found) return;
    const selected = { kind: found.kind, index: found.index };
    const isOther = JSON.stringify(selected) !== JSON.stringify(this.selected);
    if (isOther) this.select(selected);
    // A finger on another shape may only want to scroll past it.
    if (isOther && event.pointerType === "touch") return;
    const start = { state: copy(this.state), back: this.back.length };
    this.dragging = { ...found, from: this.scene.fraction(event), points: copy(pointsOf(this.shape())), start, began: false };
    this.scene.svg.setPointerCapture(event.pointerId);
    if (found.corner !== undefined) this.scene.focus(found.corner);
    event.preventDefault();
  }

  drag(event) {
    const drag = this.dragging;
    if (!drag) return;
    const [x, y] = this.scene.fraction(event);
    const [dx, dy] = [x - drag.from[0], y - drag.from[1]];
    if (!drag.began && Math.hypot(dx * 1000, dy * this.data.height) < 3 * this.scene.unit) return;
    if (!drag.began) {
      drag.began = `drag ${Date.now()}`;
      if (drag.middle !== undefined) this.step(drag.began, () => this.insertAfter(drag.middle));
    }
    this.step(drag.began, () => {
      if (drag.middle !== undefined) this.setPoint(drag.middle + 1, [rounded(x), rounded(y)]);
      else if (drag.corner !== undefined) this.setPoint(drag.corner, moved(drag.points[drag.corner], dx, dy));
      else this.setPoints(movedAll(drag.points, dx, dy));
    });
  }

  drop() {
    if (this.dragging?.middle !== undefined && this.dragging.began) this.scene.focus(this.dragging.middle + 1);
    this.dragging = null;
    this.joins = "";
  }

  // What a drag that is under way, or the keys since a corner was reached, did is undone.
  takeBack() {
    const start = this.dragging?.start ?? this.reached;
    this.dragging = null;
    if (!start || this.back.length <= start.back) return;
    this.back.length = start.back;
    this.state = copy(start.state);
    this.joins = "";
    this.render();
  }

  remember(event) {
    if (event.target.dataset.corner !== undefined && event.target.dataset.corner !== this.reached?.corner) {
      this.reached = { corner: event.target.dataset.corner, state: copy(this.state), back: this.back.length };
    }
  }

  insertAfter(number) {
    const { polygon } = this.shape();
    polygon.splice(number + 1, 0, middle(polygon[number], polygon[(number + 1) % polygon.length]));
  }

  key(event) {
    const typing = event.target.matches("input, textarea, select");
    if (event.ctrlKey || event.metaKey) {
      const run = { z: event.shiftKey ? () => this.redo() : () => this.undo(), y: () => this.redo() }[event.key.toLowerCase()];
      if (run && !typing) this.took(event, run);
      return;
    }
    if (event.key === "Escape" && (this.dragging || event.target.dataset.corner !== undefined)) this.took(event, () => this.takeBack());
    if (event.target.dataset.corner === undefined || !this.shape()) return;
    const corner = Number(event.target.dataset.corner);
    const zone = this.shape().polygon;
    if (ARROWS[event.key]) {
      const by = event.shiftKey ? FAR : STEP;
      const [dx, dy] = ARROWS[event.key].map((value) => value * by);
      this.took(event, () => this.step(`corner ${corner}`, () => this.setPoint(corner, moved(pointsOf(this.shape())[corner], dx, dy))));
    } else if (event.key === "Insert" && zone) {
      this.took(event, () => this.step("", () => this.insertAfter(corner)));
      this.scene.focus(corner + 1);
    } else if (event.key === "Delete") {
      this.took(event, () => (zone && zone.length > 3 ? this.step("", () => zone.splice(corner, 1)) : this.say(zone ? "A zone keeps three corners; remove the zone instead." : "A line has two ends; remove the line instead.")));
    }
  }

  took(event, run) {
    event.preventDefault();
    event.stopPropagation();
    run();
  }

  // ------------------------------------------------------------------------------ keeping

  say(text) {
    this.said.textContent = text;
  }

  restoreDraft() {
    const kept = readDraft();
    if (!kept) return;
    const newest = this.base;
    Object.assign(this, { base: kept.base, state: kept.state });
    this.say("Your unsaved changes from before are here again.");
    if (changes(kept.base.settings, newest.settings).length) this.askAboutOthers();
    else this.base = newest;
  }

  discard() {
    this.step("", () => {
      this.state = opened(this.base.settings);
      this.selected = null;
    });
    this.say("Back to what is saved; Undo brings your changes back.");
  }

  async save() {
    this.isSaving = true;
    this.saveButton.disabled = true;
    this.say("Saving …");
    const sent = this.closed();
    try {
      const answer = await fetch(`${this.data.url}?if_version=${this.base.version}`, {
        method: "PUT", headers: { "Content-Type": "application/json", "X-CSRF-Token": this.data.csrf }, body: JSON.stringify(sent),
      });
      const told = await answer.json();
      if (answer.ok) this.saved(told.version, sent);
      else if (answer.status === 409) await this.askAboutOthers();
      else this.refused(told);
    } catch {
      this.say("Central did not answer; nothing is lost here, try again.");
    }
    this.isSaving = false;
    this.render();
  }

  saved(version, settings) {
    this.base = { version, settings };
    this.say(`Saved and signed as version ${version}; the way to the device is shown below.`);
    const live = document.querySelector("#zones-live");
    if (live && window.htmx) window.htmx.trigger(live, "refresh");
  }

  refused(told) {
    this.say(told.detail ?? "Central refused it.");
    this.refusals = (told.errors ?? []).map((one) => `central says: ${one.detail}`);
  }

  lookForOthers() {
    const live = document.querySelector("#zones-live");
    if (live && Number(live.dataset.version) > this.base.version && !this.isSaving && this.conflict.hidden) this.askAboutOthers();
  }

  // Somebody else saved meanwhile. Without changes of our own theirs are simply shown.
  async askAboutOthers() {
    const answer = await fetch(`${this.data.url}/versions`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const told = await answer.json();
    const theirs = { version: told.version, settings: whole(told.settings) };
    const different = changes(this.base.settings, theirs.settings);
    if (!this.changes().length || !different.length) {
      if (!this.changes().length) this.state = opened(theirs.settings);
      this.base = theirs;
      this.selected = this.shape() ? this.selected : null;
      if (different.length) this.say(`Version ${theirs.version} came from ${told.versions[0]?.actor || "elsewhere"}; it is shown here now.`);
      this.render();
      return;
    }
    const made = merged(this.base.settings, this.closed(), theirs.settings);
    const settle = (state, says) => {
      this.conflict.hidden = true;
      this.base = theirs;
      this.step("", () => Object.assign(this, { state: opened(state), selected: null }));
      this.say(says);
    };
    askWhich(this.conflict, {
      who: told.versions[0]?.actor || "Somebody", version: theirs.version, theirs: different, mine: this.changes(), both: made.both,
      put: () => settle(made.settings, "Look at it, then save."),
      take: () => settle(theirs.settings, "Undo brings your changes back."),
    });
    this.say("");
  }
}

customElements.define("vedette-zones", VedetteZones);
