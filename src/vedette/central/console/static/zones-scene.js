// The picture with zones and lines on it: draws a state, and says what a pointer points at. Handles
// stand only on the selected shape. Knows nothing of history, saving or fields.

import { arrow, distanceTo, inside, middle } from "./zones-geometry.js";

const NS = "http://www.w3.org/2000/svg";

function node(name, attributes, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const pointsOf = (shape) => shape.polygon ?? [shape.a, shape.b];

const percent = (value) => `${(value * 100).toFixed(1)} %`;

export class Scene {
  constructor(svg, height) {
    this.svg = svg;
    this.height = height;
    this.marks = node("g", {});
    this.handles = node("g", { class: "zed-handles" });
    svg.append(this.marks, this.handles);
    this.drawn = "";
  }

  // One screen pixel in the picture's units.
  get unit() {
    return 1000 / Math.max(1, this.svg.getBoundingClientRect().width);
  }

  at(point) {
    return [point[0] * 1000, point[1] * this.height];
  }

  // The fraction of the picture that a pointer is at; may lie outside.
  fraction(event) {
    const box = this.svg.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  draw(state, selected) {
    const form = JSON.stringify([["zones", "lines"].map((kind) => state[kind].map((one) => pointsOf(one).length)), selected]);
    if (form !== this.drawn) this.build(state, selected);
    this.drawn = form;
    for (const kind of ["zones", "lines"]) state[kind].forEach((shape, n) => this.place(kind, n, shape));
    if (selected) this.placeHandles(state[selected.kind][selected.index], selected);
  }

  build(state, selected) {
    const marks = [];
    for (const kind of ["zones", "lines"]) {
      state[kind].forEach((_, n) => {
        const is = selected?.kind === kind && selected.index === n ? " is-selected" : "";
        const body = kind === "zones" ? node("polygon", { class: `zone${is}` }) : node("line", { class: `line${is}` });
        const more = node("path", { class: "zed-arrow" });
        marks.push(node("g", { "data-shape": `${kind}:${n}`, class: is.trim() }, body, more, node("text", { class: "of-zone" })));
      });
    }
    this.marks.replaceChildren(...marks);
    const focus = document.activeElement?.dataset?.corner;
    this.handles.replaceChildren();
    if (!selected) return;
    const count = pointsOf(state[selected.kind][selected.index]).length;
    if (selected.kind === "zones") {
      for (let n = 0; n < count; n += 1) this.handles.append(node("circle", { class: "zed-middle", "data-middle": n }));
    }
    for (let n = 0; n < count; n += 1) {
      const corner = node("g", { class: "zed-corner", "data-corner": n, tabindex: 0, role: "button" }, node("circle", { class: "zed-hit" }), node("circle", { class: "zed-dot" }));
      this.handles.append(corner);
    }
    if (focus !== undefined) this.focus(Math.min(Number(focus), count - 1));
  }

  focus(number) {
    this.handles.querySelector(`[data-corner="${number}"]`)?.focus({ preventScroll: true });
  }

  place(kind, n, shape) {
    const group = this.marks.querySelector(`[data-shape="${kind}:${n}"]`);
    const [body, more, text] = group.children;
    const points = pointsOf(shape).map((point) => this.at(point));
    let label;
    if (kind === "zones") {
      body.setAttribute("points", points.map((point) => point.map((v) => v.toFixed(1)).join(",")).join(" "));
      const center = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
      label = [center[0], center[1] + 8];
      more.setAttribute("d", shape.heading_deg === null || shape.heading_deg === undefined ? "" : this.heading(center, shape.heading_deg));
    } else {
      const [[x1, y1], [x2, y2]] = points;
      Object.entries({ x1, y1, x2, y2 }).forEach(([key, value]) => body.setAttribute(key, value.toFixed(1)));
      const [from, to] = arrow(shape.a, shape.b, this.height);
      more.setAttribute("d", this.arrowPath(from, to));
      label = [(x1 + x2) / 2, Math.max(24, (y1 + y2) / 2 - 12)];
    }
    text.setAttribute("font-size", (14 * this.unit).toFixed(1));
    text.setAttribute("x", label[0].toFixed(1));
    text.setAttribute("y", label[1].toFixed(1));
    text.textContent = shape.name;
  }

  heading([x, y], degrees) {
    const turn = (degrees * Math.PI) / 180;
    return this.arrowPath([x, y + 24], [x + Math.cos(turn) * 70, y + 24 + Math.sin(turn) * 70]);
  }

  arrowPath([x1, y1], [x2, y2]) {
    const angle = Math.atan2(y2 - y1, x2 - x1);
    const wing = (by) => `${(x2 - 18 * Math.cos(angle + by)).toFixed(1)} ${(y2 - 18 * Math.sin(angle + by)).toFixed(1)}`;
    return `M${x1.toFixed(1)} ${y1.toFixed(1)}L${x2.toFixed(1)} ${y2.toFixed(1)}M${wing(0.5)}L${x2.toFixed(1)} ${y2.toFixed(1)}L${wing(-0.5)}`;
  }

  placeHandles(shape, selected) {
    const points = pointsOf(shape);
    const what = `${selected.kind === "zones" ? "zone" : "line"} ${shape.name}`;
    const put = (circle, [x, y], r) => Object.entries({ cx: x.toFixed(1), cy: y.toFixed(1), r: r.toFixed(1) }).forEach(([key, value]) => circle.setAttribute(key, value));
    const unit = this.unit;
    points.forEach((point, n) => {
      const corner = this.handles.querySelector(`[data-corner="${n}"]`);
      const name = selected.kind === "zones" ? `corner ${n + 1} of ${points.length}` : ["start", "end"][n];
      corner.setAttribute("aria-label", `${name} of ${what}: ${percent(point[0])} from the left, ${percent(point[1])} from the top`);
      put(corner.children[0], this.at(point), 22 * unit);
      put(corner.children[1], this.at(point), 6.5 * unit);
      const between = this.handles.querySelector(`[data-middle="${n}"]`);
      if (between) put(between, this.at(middle(point, points[(n + 1) % points.length])), 4.5 * unit);
    });
  }

  // What lies under a pointer: a corner or middle of the selected shape first, then any shape.
  under(event, state, selected) {
    const here = this.at(this.fraction(event));
    const reach = (event.pointerType === "touch" ? 26 : 13) * this.unit;
    const near = (points) => {
      const far = points.map((point) => Math.hypot(point[0] - here[0], point[1] - here[1]));
      const least = far.indexOf(Math.min(...far));
      return far[least] <= reach ? least : -1;
    };
    if (selected) {
      const points = pointsOf(state[selected.kind][selected.index]);
      const corner = near(points.map((point) => this.at(point)));
      if (corner >= 0) return { ...selected, corner };
      if (selected.kind === "zones") {
        const between = near(points.map((point, n) => this.at(middle(point, points[(n + 1) % points.length]))));
        if (between >= 0) return { ...selected, middle: between };
      }
    }
    const line = state.lines.findIndex((one) => distanceTo(here, this.at(one.a), this.at(one.b)) <= reach);
    if (line >= 0) return { kind: "lines", index: line };
    const point = this.fraction(event);
    const zones = state.zones.map((one, index) => ({ kind: "zones", index })).filter(({ index }) => inside(state.zones[index].polygon, point));
    return zones.find(({ index }) => selected?.kind === "zones" && selected.index === index) ?? zones.at(-1) ?? null;
  }
}
