// The animation of an empty stage: k-means on a few blobs, computed in the page, step by step.
import { calm, find } from "./dom.js";
import { Scatter } from "./scatter.js";

const CLUSTERS = 8, POINTS = 1600, STEPS = 12, PAUSE = 900;

/** The same numbers in every page (mulberry32). */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function blobs(random) {
  const points = new Float32Array(2 * POINTS);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  for (let i = 0; i < POINTS; i++) {
    const angle = 2 * Math.PI * (i % CLUSTERS) / CLUSTERS;
    points[2 * i] = 0.5 + 0.36 * Math.cos(angle) + 0.05 * normal();
    points[2 * i + 1] = 0.5 + 0.34 * Math.sin(angle) + 0.06 * normal();
  }
  return points;
}

function assign(points, centers, labels) {
  for (let i = 0; i < POINTS; i++) {
    let best = Infinity;
    for (let c = 0; c < CLUSTERS; c++) {
      const far = (points[2 * i] - centers[2 * c]) ** 2 + (points[2 * i + 1] - centers[2 * c + 1]) ** 2;
      if (far < best) [best, labels[i]] = [far, c];
    }
  }
}

function update(points, centers, labels) {
  const sums = new Float64Array(3 * CLUSTERS);
  for (let i = 0; i < POINTS; i++) {
    sums[3 * labels[i]] += points[2 * i];
    sums[3 * labels[i] + 1] += points[2 * i + 1];
    sums[3 * labels[i] + 2] += 1;
  }
  return centers.map((value, i) => {
    const at = 3 * (i >> 1);
    return sums[at + 2] ? sums[at + i % 2] / sums[at + 2] : value;
  });
}

/** All iterations from one start: [labels, centers, the centers before]. */
function iterations() {
  const points = blobs(generator(11));
  const pick = generator(6);
  let centers = new Float32Array(2 * CLUSTERS);
  for (let c = 0; c < CLUSTERS; c++) {
    const row = Math.floor(pick() * POINTS);
    centers.set(points.subarray(2 * row, 2 * row + 2), 2 * c);
  }
  const steps = [], trail = [];
  for (let step = 0; step < STEPS; step++) {
    const labels = new Uint8Array(POINTS);
    assign(points, centers, labels);
    steps.push([labels, centers, [...trail]]);
    trail.push(centers);
    centers = update(points, centers, labels);
  }
  return [points, steps];
}

export function showIdle(canvas) {
  const [points, steps] = iterations();
  const scatter = new Scatter(canvas, points, CLUSTERS);
  let step = calm() ? STEPS - 1 : 0;
  const show = () => {
    scatter.draw(...steps[Math.min(step, STEPS - 1)]);
    step = (step + 1) % (STEPS + 3);
  };
  show();
  document.addEventListener("theme", () => scatter.recolour());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => scatter.recolour());
  if (calm()) return;
  const clock = setInterval(() => {
    if (find("#idle").hidden) clearInterval(clock);
    else show();
  }, PAUSE);
}
