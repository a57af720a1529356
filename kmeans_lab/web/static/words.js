// Numbers as a person reads them.
const group = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 16250 → "16,250". */
export const whole = number => group.format(number);

/** Three digits that count, never an exponent: 81.2, 1.04, 0.056, 1,230. */
export function digits(number, count = 3) {
  if (number === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(number)));
  if (size >= count) return whole(Number(number.toPrecision(count)));
  const places = Math.min(12, Math.max(0, count - 1 - size));
  return number.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** 0.00411 → "4.11 ms". */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1e-3) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 1) return `${digits(seconds * 1e3)} ms`;
  if (seconds < 100) return `${digits(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** A power of ten on an axis: "10 ms". */
export function powerOfTen(power) {
  const [size, unit] = power < -3 ? [-6, "µs"] : power < 0 ? [-3, "ms"] : [0, "s"];
  return power < -6 ? `${digits(10 ** (power + 6), 1)} µs` : `${whole(10 ** (power - size))} ${unit}`;
}

/** What a clock shows while it runs: as wide from one moment to the next. */
export const ticking = seconds => `${seconds.toFixed(seconds < 100 ? 2 : 1)} s`;

/** 81.2 → "81 ×": two digits are what a measurement on a shared machine is worth. */
export function times(ratio) {
  return `${ratio >= 10 ? whole(ratio) : digits(ratio, 2)} ×`;
}

/** The ratio to the baseline in words. */
export function against(ratio, name) {
  if (Math.abs(ratio - 1) < 0.05) return `as fast as ${name}`;
  if (ratio > 1) return `${times(ratio)} faster than ${name}`;
  return `${times(1 / ratio)} slower than ${name}`;
}

/** A summary as the beginning of a sentence. */
export const sentence = words => words.charAt(0).toUpperCase() + words.slice(1);

export const plural = (count, one, many = `${one}s`) =>
  `${whole(count)} ${count === 1 ? one : many}`;

/** A lane's name, with its threads where there are several. */
export const title = lane =>
  lane.threads > 1 ? `${lane.kernel}, ${plural(lane.threads, "thread")}` : lane.kernel;

/** "0.37" → "37%" of what the machine can do. */
export const percent = share => `${digits(100 * share, 2)}%`;
