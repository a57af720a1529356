// Numbers for people to read, by the rule that kmeans_lab/formatting.py states.
const group = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 16250 → "16,250". */
export const whole = number => group.format(number);

/** Three significant digits, all digits before the point, no exponent: 81.2, 1.04, 0.0560, 16,250. */
export function digits(number, count = 3) {
  if (Number.isNaN(number)) return "–";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "-∞";
  if (number === 0) return "0";
  const size = Number(number.toExponential(count - 1).split("e")[1]);  // of what it is rounded to
  const [units, decimals] = number.toFixed(Math.min(12, Math.max(0, count - 1 - size))).split(".");
  const grouped = units.replace(/\B(?=(\d{3})+$)/g, ",");
  return decimals ? `${grouped}.${decimals}` : grouped;
}

/** 0.00411 → "4.11 ms". */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (!Number.isFinite(seconds)) return digits(seconds);
  const rounded = Number(seconds.toPrecision(3));
  if (rounded < 1e-3) return `${digits(1e6 * rounded)} µs`;
  if (rounded < 1) return `${digits(1e3 * rounded)} ms`;
  if (rounded < 100) return `${digits(rounded)} s`;
  const all = Math.round(seconds);
  return `${whole(Math.floor(all / 60))} min ${all % 60} s`;
}

/** A power of ten on an axis: "10 ms". */
export function powerOfTen(power) {
  const [size, unit] = power < -3 ? [-6, "µs"] : power < 0 ? [-3, "ms"] : [0, "s"];
  return power < -6 ? `${digits(10 ** (power + 6), 1)} µs` : `${whole(10 ** (power - size))} ${unit}`;
}

/** What a clock shows while it runs: its width stays the same from one moment to the next. */
export const ticking = seconds => `${seconds.toFixed(seconds < 100 ? 2 : 1)} s`;

/** How many times as fast: 81.2 → "81.2 ×". */
export const times = ratio => `${digits(ratio)} ×`;

/** A summary as the beginning of a sentence. */
export const sentence = words => words.charAt(0).toUpperCase() + words.slice(1);

export const plural = (count, one, many = `${one}s`) =>
  `${whole(count)} ${count === 1 ? one : many}`;

/** A lane's name, with its threads where there are several. */
export const title = lane =>
  lane.threads > 1 ? `${lane.kernel}, ${plural(lane.threads, "thread")}` : lane.kernel;

/** "0.37" → "37%" of what the machine can do. */
export const percent = share => `${digits(100 * share, 2)}%`;
