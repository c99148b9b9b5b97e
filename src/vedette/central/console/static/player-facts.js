// What a clip's description says, in the form that the player draws. Pure: no page, no network.

const HELD_MS = 1500; // A box is shown until the next look, and no longer than this.
const EARLY_MS = 20; // A picture and its look may be this far apart by rounding.

const isWindow = (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);

export function read(facts, blurred, file, eventMs) {
  const entry = blurred?.clip ?? (facts.clips ?? []).find((clip) => clip.file === file);
  const window = entry?.window_ms ?? facts.record.actual_ms;
  const px = facts.record.picture_px;
  if (!isWindow(window) || !isWindow(px) || px[0] <= 0 || px[1] <= 0) throw new Error("no window or no size");
  const wanted = isWindow(facts.record.wanted_ms) ? facts.record.wanted_ms : null;
  const looks = facts.frames.map((frame) => ({ atMs: frame.at_ms, boxes: frame.boxes }));
  looks.sort((a, b) => a.atMs - b.atMs);
  return {
    px,
    startMs: window[0],
    endMs: Math.max(window[1], window[0] + 1),
    fromMs: Math.min(window[0], wanted?.[0] ?? window[0]),
    toMs: Math.max(window[1], wanted?.[1] ?? window[1], window[0] + 1),
    frameS: entry?.packets > 1 ? (window[1] - window[0]) / (entry.packets - 1) / 1000 : 0.04,
    wanted,
    eventMs,
    track: facts.event?.track ?? null,
    holes: (facts.holes ?? []).filter((hole) => isWindow(hole.window_ms)),
    looks,
  };
}

export function boxesAt(facts, atMs) {
  let low = 0;
  let high = facts.looks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (facts.looks[middle].atMs <= atMs + EARLY_MS) low = middle + 1;
    else high = middle;
  }
  const look = facts.looks[low - 1];
  if (!look || atMs - look.atMs > HELD_MS) return [];
  return look.boxes.slice(0, 200).map((box) => ({
    x: box.xyxy[0],
    y: box.xyxy[1],
    width: Math.max(1, box.xyxy[2] - box.xyxy[0]),
    height: Math.max(1, box.xyxy[3] - box.xyxy[1]),
    isMain: facts.track !== null && box.track === facts.track,
    name: [box.label, box.confidence?.toFixed?.(2), Number.isFinite(box.track) ? `#${box.track}` : ""].filter(Boolean).join(" ").slice(0, 80),
  }));
}

// The middle of the picture before or after: an edge would be rounded to either side.
export function step(seconds, by, frameS) {
  return (Math.floor(seconds / frameS + 0.001) + by + 0.5) * frameS;
}

export function timeText(ms) {
  return new Date(ms).toISOString().slice(11, 22);
}
