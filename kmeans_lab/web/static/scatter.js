// The picture of one lane: points coloured by cluster, and centers with their paths.
// Points are written into an ImageData: 5,000 of them take a fraction of a millisecond.
import { isDark, palette } from "./colours.js";

const MARGIN = 0.05;

/** Offsets and opacity of the pixels of a disc. */
function disc(radius) {
  const pixels = [];
  const reach = Math.ceil(radius);
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
      if (cover > 0.05) pixels.push([x, y, Math.round(cover * 255)]);
    }
  }
  return pixels;
}

function bounds(points) {
  const found = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    const at = 2 * (i % 2);
    found[at] = Math.min(found[at], points[i]);
    found[at + 1] = Math.max(found[at + 1], points[i]);
  }
  return found;
}

const pack = ([red, green, blue]) => (blue << 16) | (green << 8) | red;

export class Scatter {
  constructor(canvas, points, clusters) {
    Object.assign(this, { canvas, points, clusters });
    this.context = canvas.getContext("2d");
    this.last = [null, null, []];
    this.bounds = bounds(points);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(canvas);
    this.recolour();
  }

  recolour() {
    this.dark = isDark();
    this.colours = palette(this.clusters, this.dark);
    this.packed = this.colours.map(pack);
    this.names = this.colours.map(rgb => `rgb(${rgb.join(" ")})`);
    this.grey = pack(this.dark ? [110, 120, 132] : [160, 160, 158]);
    this.ink = this.dark ? "#f4f2ee" : "#15181c";
    this.paper = this.dark ? "#14171b" : "#ffffff";
    this.resize();
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * ratio));
    const height = Math.max(1, Math.round(box.height * ratio));
    this.canvas.width = width;
    this.canvas.height = height;
    this.ratio = ratio;
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    const count = this.points.length / 2;
    const sparse = Math.sqrt(width * height / ratio ** 2 / Math.max(1, count));
    this.sprite = disc(ratio * Math.min(2.6, Math.max(0.8, 0.28 * sparse)));
    this.fit();
    this.place();
    this.drawn = undefined;
    this.draw(...this.last);
  }

  /** Both axes have one scale, so that round clusters stay round. */
  fit() {
    const { width, height } = this.canvas;
    const [left, right, low, high] = this.bounds;
    const inner = 1 - 2 * MARGIN;
    this.scale = inner * Math.min(width / (right - left || 1), height / (high - low || 1));
    this.shift = [width / 2 - this.scale * (left + right) / 2, height / 2 + this.scale * (low + high) / 2];
  }

  at(x, y) {
    return [this.shift[0] + this.scale * x, this.shift[1] - this.scale * y];
  }

  place() {
    const { points } = this;
    this.where = new Int32Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = this.at(points[i], points[i + 1]);
      this.where[i] = Math.round(x);
      this.where[i + 1] = Math.round(y);
    }
  }

  /** Fill the image: one pass per pixel of the disc, so that cores lie on top of rims. */
  scatter(labels) {
    const { where, pixels, packed, grey } = this;
    const { width, height } = this.canvas;
    pixels.fill(0);
    for (const [dx, dy, cover] of this.sprite) {
      for (let i = 0, p = 0; i < where.length; i += 2, p++) {
        const x = where[i] + dx, y = where[i + 1] + dy;
        if (x < 0 || y < 0 || x >= width || y >= height) continue;
        const at = y * width + x;
        if (pixels[at] >>> 24 > cover) continue;
        pixels[at] = (cover << 24) | (labels ? packed[labels[p]] : grey);
      }
    }
  }

  /** Draw labels (or none), centers (x, y, x, y…) and earlier centers, oldest first. */
  draw(labels, centers, trail) {
    this.last = [labels, centers, trail];
    if (this.drawn !== labels) {
      this.scatter(labels);
      this.drawn = labels;
    }
    const { context } = this;
    context.putImageData(this.image, 0, 0);
    if (!centers) return;
    this.paths(trail, centers);
    const radius = this.ratio * (this.clusters > 60 ? 2.5 : 4.5);
    context.lineWidth = this.ratio * 1.6;
    for (let c = 0; c < centers.length / 2; c++) {
      const [x, y] = this.at(centers[2 * c], centers[2 * c + 1]);
      context.beginPath();
      context.arc(x, y, radius + this.ratio * 1.4, 0, 2 * Math.PI);
      context.fillStyle = this.paper;
      context.fill();
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = this.names[c];
      context.strokeStyle = this.ink;
      context.fill();
      context.stroke();
    }
  }

  paths(trail, centers) {
    if (!trail.length || this.clusters > 60) return;
    const { context } = this;
    context.beginPath();
    for (let c = 0; c < centers.length; c += 2) {
      context.moveTo(...this.at(trail[0][c], trail[0][c + 1]));
      for (const then of trail) context.lineTo(...this.at(then[c], then[c + 1]));
      context.lineTo(...this.at(centers[c], centers[c + 1]));
    }
    context.lineJoin = "round";
    context.strokeStyle = this.ink;
    context.globalAlpha = 0.75;
    context.lineWidth = this.ratio * 1.2;
    context.stroke();
    context.globalAlpha = 1;
  }

  close() {
    this.watcher.disconnect();
  }
}
