// The player: a clip's pictures at their true times, with attention and the face's box over them.

import { $, $$ } from "./common.js";

const KEPT = 48; // decoded pictures
const AHEAD = 4;
const ROOM = 420; // pixels of the page for the picture's width, at most
const ENLARGED = 2; // a small picture, at most
const svg = "http://www.w3.org/2000/svg";
let heat = null;
const loadHeat = () => (heat ??= fetch("/static/heat.json").then((response) => response.json()));

const seconds = (value) => value.toFixed(2);

// The place of the last entry of an ascending list that is not above a value; at least 0.
export function findLast(values, value) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

// Attention at an instant: linear between those known, held before and after.
export function mixAttention(attention, time) {
  const { times_s: times, maps } = attention;
  if (maps.length === 1) return maps[0];
  const left = Math.min(findLast(times, time), maps.length - 2);
  const span = times[left + 1] - times[left];
  const share = span > 0 ? Math.min(1, Math.max(0, (time - times[left]) / span)) : 0;
  return maps[left].map((value, k) => (1 - share) * value + share * maps[left + 1][k]);
}

// A grid enlarged bilinearly, as floats.
export function enlarge(grid, height, width, tall, wide) {
  const out = new Float32Array(tall * wide);
  for (let y = 0; y < tall; y++) {
    const v = Math.min(height - 1, Math.max(0, ((y + 0.5) * height) / tall - 0.5));
    const top = Math.min(height - 1, Math.floor(v));
    const below = Math.min(height - 1, top + 1);
    for (let x = 0; x < wide; x++) {
      const u = Math.min(width - 1, Math.max(0, ((x + 0.5) * width) / wide - 0.5));
      const left = Math.min(width - 1, Math.floor(u));
      const right = Math.min(width - 1, left + 1);
      const upper = grid[top * width + left] * (left + 1 - u) + grid[top * width + right] * (u - left);
      const lower = grid[below * width + left] * (left + 1 - u) + grid[below * width + right] * (u - left);
      out[y * wide + x] = upper * (top + 1 - v) + lower * (v - top);
    }
  }
  return out;
}

export class Player {
  constructor(root, preview, packed, name) {
    this.root = root;
    this.preview = preview;
    this.name = name;
    this.blobs = [];
    let at = 0;
    for (const size of preview.sizes) {
      this.blobs.push(new Blob([packed.slice(at, at + size)], { type: "image/webp" }));
      at += size;
    }
    this.decoded = new Map();
    this.results = new Map();
    this.time = 0;
    this.index = -1;
    this.isPlaying = false;
    this.canvas = $("canvas", root);
    this.canvas.width = preview.width;
    this.canvas.height = preview.height;
    this.canvas.style.width = `${Math.min(ROOM, ENLARGED * preview.width)}px`;
    this.context = this.canvas.getContext("2d");
    this.scrub = $(".scrub", root);
    this.button = $(".play", root);
    this.whose = $(".whose", root);
    this.attend = $(".attend", root);
    this.end = preview.duration_s;
    this.isStill = this.blobs.length < 2 || !(this.end > 0);
    this.scrub.max = this.end || 1;
    $(".controls", root).hidden = this.isStill;
    $(".note-shown", root).textContent = preview.note ? `Shown: ${preview.note}.` : "";
    this.button.addEventListener("click", () => (this.isPlaying ? this.pause() : this.play()));
    this.scrub.addEventListener("input", () => {
      this.pause();
      this.seek(Number(this.scrub.value));
    });
    this.scrub.addEventListener("keydown", (event) => this.step(event));
    this.attend.addEventListener("change", () => this.redraw());
    this.whose.addEventListener("change", () => this.redraw());
    this.tick = this.tick.bind(this);
    this.fillChoice();
    this.seek(0);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.isStill && !calm) this.play();
    else this.showButton();
  }

  // A model's result: its attention can be chosen, its charts follow the time.
  add(result, panel) {
    this.results.set(result.model, { ...result, panel });
    this.fillChoice();
    for (const chart of $$(".trace svg, .strip svg", panel)) {
      const line = document.createElementNS(svg, "line");
      line.setAttribute("class", "cursor");
      line.setAttribute("y1", "0");
      line.setAttribute("y2", "400");
      chart.append(line);
      chart.addEventListener("click", (event) => {
        const box = chart.getBoundingClientRect();
        this.pause();
        this.seek(((event.clientX - box.left) / box.width) * this.end);
      });
    }
    this.redraw();
  }

  fillChoice() {
    const shown = [...this.results.values()].filter((one) => !one.panel.hidden && (one.attention || one.frame_boxes));
    const before = this.whose.value;
    this.whose.replaceChildren(...shown.map((one) => new Option(one.model, one.model)));
    if (shown.some((one) => one.model === before)) this.whose.value = before;
    $(".switches", this.root).hidden = !shown.length;
    this.redraw();
  }

  play() {
    this.isPlaying = true;
    this.begin = performance.now() - 1000 * (this.time >= this.end - 1e-6 ? 0 : this.time);
    this.showButton();
    requestAnimationFrame(this.tick);
  }

  pause() {
    this.isPlaying = false;
    this.showButton();
  }

  stop() {
    this.pause();
    for (const picture of this.decoded.values()) picture.then((bitmap) => bitmap.close());
    this.decoded.clear();
    this.blobs = [];
  }

  showButton() {
    this.button.classList.toggle("paused", !this.isPlaying);
    $(".out", this.button).textContent = this.isPlaying ? "Pause" : "Play";
    this.describe();
  }

  tick(now) {
    if (!this.isPlaying) return;
    if (!this.root.isConnected) return this.stop();
    this.seek(((now - this.begin) / 1000) % this.end);
    requestAnimationFrame(this.tick);
  }

  // Arrow keys go from picture to picture, whatever their durations.
  step(event) {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.pause();
    const count = this.blobs.length;
    this.seek(this.preview.starts_s[(this.index + by + count) % count]);
    this.describe();
  }

  seek(time) {
    this.time = Math.min(Math.max(0, time), this.end || 0);
    this.scrub.value = this.time;
    $(".time", this.root).textContent = `${seconds(this.time)} / ${seconds(this.end)} s`;
    const index = findLast(this.preview.starts_s, this.time + 1e-6);
    const x = String(this.end > 0 ? (1000 * this.time) / this.end : 0);
    for (const line of $$(".cursor", this.root.closest(".card"))) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    if (index !== this.index) {
      this.index = index;
      this.show(index);
      if (!this.isPlaying) this.describe();
    }
  }

  describe() {
    const told = `${seconds(this.time)} of ${seconds(this.end)} s, picture ${this.index + 1} of ${this.blobs.length}`;
    this.scrub.setAttribute("aria-valuetext", told);
    const over = this.attend.checked && this.whose.value ? `, with what ${this.whose.value} looked at` : "";
    this.canvas.setAttribute("aria-label", `${this.isStill ? "Picture" : "Animation"} ${this.name}${over}`);
  }

  get(index) {
    let picture = this.decoded.get(index);
    if (!picture) {
      picture = createImageBitmap(this.blobs[index]);
      this.decoded.set(index, picture);
      for (const old of this.decoded.keys()) {
        if (this.decoded.size <= KEPT) break;
        if (old === index) continue;
        this.decoded.get(old).then((bitmap) => bitmap.close());
        this.decoded.delete(old);
      }
    }
    return picture;
  }

  async show(index) {
    if (!this.blobs.length) return;
    const bitmap = await this.get(index);
    if (index !== this.index) return; // a later one came first
    const { width, height } = this.canvas;
    this.context.drawImage(bitmap, 0, 0, width, height);
    const result = this.attend.checked ? this.results.get(this.whose.value) : null;
    const { starts_s: starts, durations_s: durations } = this.preview;
    if (result?.attention) this.drawHeat(result.attention, starts[index] + durations[index] / 2, await loadHeat());
    if (result?.frame_boxes?.[index]) this.drawBox(result.frame_boxes[index]);
    this.canvas.dataset.shown = index;
    for (let k = 1; k <= Math.min(AHEAD, this.blobs.length - 1); k++) this.get((index + k) % this.blobs.length);
  }

  redraw() {
    this.describe();
    if (this.index >= 0) this.show(this.index);
  }

  drawHeat(attention, time, ramp) {
    const { height, width } = attention;
    const even = 1 / (height * width);
    attention.strongest ??= Math.max(...attention.maps.map((map) => Math.max(...map)));
    const full = Math.max(attention.strongest - even, even);
    const levels = mixAttention(attention, time).map((value) => Math.min(1, Math.max(0, (value - even) / full)));
    const wide = Math.max(1, Math.round(this.canvas.width / 3));
    const tall = Math.max(1, Math.round(this.canvas.height / 3));
    const grid = enlarge(levels, height, width, tall, wide);
    this.layer ??= document.createElement("canvas");
    this.layer.width = wide;
    this.layer.height = tall;
    const context = this.layer.getContext("2d");
    const image = context.createImageData(wide, tall);
    for (let k = 0; k < grid.length; k++) {
      const level = Math.round(255 * grid[k]);
      image.data.set(ramp.tint[level], 4 * k);
      image.data[4 * k + 3] = 255 * ramp.cover[level];
    }
    context.putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(this.layer, 0, 0, this.canvas.width, this.canvas.height);
  }

  drawBox([left, top, right, bottom]) {
    const { width, height } = this.canvas;
    const clip = (value) => Math.min(1, Math.max(0, value));
    const box = [clip(left) * width, clip(top) * height, clip(right) * width, clip(bottom) * height];
    const thick = Math.max(2, Math.max(width, height) / 160);
    for (const [colour, more] of [["#10121a", 2], ["#ffffff", 0]]) {
      this.context.strokeStyle = colour;
      this.context.lineWidth = thick + more;
      this.context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    }
  }
}
