// Charts across lanes, as SVG that follows the width of the page.
import { draw, make } from "./dom.js";
import { digits, powerOfTen, time, times, title } from "./words.js";

/** Powers of ten around the values, at least one decade. */
export function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.ceil(Math.log10(Math.max(...values)) - 1e-9);
  return [low, Math.max(high, low + 1)];
}

const ticks = ([low, high]) => {
  const step = Math.ceil((high - low) / 7);
  const out = [];
  for (let power = low; power <= high; power += step) out.push(power);
  return out;
};

/** Round values from low to high: at most `most`, each 1, 2 or 5 times a power of ten. */
export function round(low, high, most = 6) {
  const out = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of [1, 2, 5]) {
      const value = Number(`${digit}e${power}`);
      if (value >= low && value <= high) out.push(value);
    }
  }
  if (out.length <= most) return out;
  const tens = out.filter(value => String(value.toExponential()).startsWith("1e"));
  return tens.filter((_, i) => i % Math.ceil(tens.length / most) === 0);
}

/** A scale for seconds: where a value lies, in percent, and the ticks. */
function scaleOf(values, linear) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (linear) {
    const step = [1, 2, 5, 10].map(size => size * 10 ** Math.floor(Math.log10(most) - 0.5)).find(size => most / size <= 6);
    const high = 1.04 * most;
    return { place: value => 100 * value / high, ticks: Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step) };
  }
  const room = Math.max(1.25, (most / least) ** 0.06);
  const [low, high] = [least / room, most * room];
  const place = value => 100 * Math.log(value / low) / Math.log(high / low);
  return { place, ticks: round(low, high) };
}

/** Rows of dots, one for each fit, and a line for the median: [{name, value, words, idea, className, marks}]. */
export function dots(rows, label, { limit = 0, linear = false } = {}) {
  const known = rows.filter(row => row.value > 0);
  if (!known.length) return make("p", { className: "faint" }, "Nothing was measured.");
  const { place, ticks: at } = scaleOf(known.flatMap(row => [row.value, ...(row.marks ?? [])]).concat(limit || []), linear);
  const put = (className, value) => make("i", { className, "--at": `${place(value).toFixed(2)}%` });
  const track = row => make("div", { className: "track", "aria-hidden": "true" },
    ...at.map(value => put("grid", value)),
    ...(limit ? [put("limit", limit)] : []),
    ...(row.marks ?? []).map(value => put("fit", value)),
    ...(row.value > 0 ? [put("median", row.value)] : []));
  return make("div", { className: "dots", role: "group", "aria-label": label },
    ...rows.map(row => make("div", { className: `dot-row ${row.className ?? ""}` },
      make("span", { className: "name" }, row.name), track(row),
      make("span", { className: "value" }, row.words),
      row.idea ? make("small", {}, row.idea) : null)),
    make("div", { className: "dot-axis", "aria-hidden": "true" }, make("span"),
      make("div", {}, ...at.map(value => make("i", { "--at": `${place(value).toFixed(2)}%` }, value ? time(value).replace(/\.0+ /, " ") : "0"))),
      make("span")));
}

const MARKS = 200;

/** Thin out the ticks of many fits, so that single ones can still be told apart. */
const some = seconds => seconds.length <= MARKS ? seconds
  : seconds.toSorted((a, b) => a - b).filter((_, i) => i % Math.ceil(seconds.length / MARKS) === 0);

/** Seconds of each lane, and how many times faster than the baseline. */
export function laneDots(race, linear) {
  const rows = race.lanes.map(lane => {
    const ratio = race.verdict?.times[lane.index];
    const base = lane.index === race.verdict?.baseline;
    const seconds = lane.result?.seconds;
    const told = race.verdict?.differs[lane.index] ? times(ratio) : "no difference found";
    return {
      name: title(lane),
      value: seconds ?? 0,
      marks: some(lane.result?.repeats ?? []),
      words: seconds ? `${time(seconds)}${base ? " · baseline" : ratio ? ` · ${told}` : ""}`
        : lane.state,
      className: `lane-${lane.index}`,
    };
  });
  return dots(rows, `Seconds of each lane on a ${linear ? "linear" : "log"} scale`, { linear });
}

const HEIGHT = 230, LEFT = 62, RIGHT = 12, TOP = 10, BOTTOM = 30;

const DASH = 9;

/** Whether a lane was faster than pictures are sent. */
const gaps = ({ frames }) => frames.some((frame, i) => i && frame.n_iter > frames[i - 1].n_iter + 1);

/** Dots are what was observed; the line between them only guides the eye. */
function dotted(points, line, index) {
  line.classList.add("guess");
  return draw("g", {}, line, ...points.map(point => {
    const [cx, cy] = point.split(",");
    return draw("circle", { class: `dot lane-${index}`, cx, cy, r: 4 });
  }));
}

/** Whether all lines coincide, but for the last digits of their sums. */
function together(lines) {
  return lines.every(line => line.length === lines[0].length && line.every(([x, y], i) =>
    x === lines[0][i][0] && Math.abs(y - lines[0][i][1]) <= 1e-6 * Math.abs(y)));
}

/** The note below the chart by iteration. */
export function inertiaNote(race) {
  const lines = race.lanes.filter(lane => lane.frames.length)
    .map(lane => lane.frames.map(frame => [frame.n_iter, frame.inertia]));
  if (race.lanes.some(gaps)) {
    return "Dots are the iterations that were sent while the race was on, at most 30 a second.";
  }
  return lines.length > 1 && together(lines)
    ? "By iteration the lines coincide: different code, the same steps." : "";
}

/** Inertia by iteration, or by time on a log scale. */
export function inertiaChart(race, byTime, width) {
  const lines = race.lanes.map(lane => {
    const moments = race.moments(lane);
    return lane.frames.map((frame, i) => [byTime ? moments[i] : frame.n_iter, frame.inertia])
      .filter(([x]) => x > 0);
  });
  const all = lines.flat();
  if (!all.length) return make("p", { className: "faint" }, "No iteration has been seen yet.");
  const scale = axes(all, byTime, width);
  const paths = lines.map((line, index) => {
    const points = line.map(([x, y]) => `${scale.x(x).toFixed(1)},${scale.y(y).toFixed(1)}`);
    if (points.length === 1) {
      const [cx, cy] = points[0].split(",");
      return draw("circle", { class: `dot lane-${index}`, cx, cy, r: 4 });
    }
    // Lines that coincide are drawn as alternating dashes, so that each one can be seen.
    const shared = index && !byTime && together(lines);
    const seen = draw("polyline", {
      class: `lane-${index}`, points: points.join(" "), "stroke-width": 3,
      "stroke-dasharray": shared ? `${DASH} ${DASH * (lines.length - 1)}` : null,
      "stroke-dashoffset": shared ? -DASH * index : null,
    });
    return gaps(race.lanes[index]) ? dotted(points, seen, index) : seen;
  });
  return draw("svg", {
    class: "lines", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": `Inertia ${byTime ? "over time" : "by iteration"}, from ${digits(all[0][1], 4)} `
      + `down to ${digits(Math.min(...all.map(([, y]) => y)), 4)}`,
  }, ...scale.marks, ...paths);
}

function axes(all, byTime, width) {
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const y = value => TOP + (HEIGHT - TOP - BOTTOM) * (high + room - value) / (high - low + 2 * room);
  const powers = byTime ? decades(xs) : [0, 1];
  const longest = Math.max(...xs, 2);
  const share = byTime
    ? value => (Math.log10(value) - powers[0]) / (powers[1] - powers[0])
    : value => (value - 1) / (longest - 1);
  const x = value => LEFT + (width - LEFT - RIGHT) * share(value);
  const across = byTime ? ticks(powers).map(power => [10 ** power, powerOfTen(power)])
    : steps(longest, width / 70).map(count => [count, String(count)]);
  const upright = [low, (low + high) / 2, high];
  const marks = [
    ...upright.map(value => draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) })),
    ...upright.map(value => draw("text", { class: "tick", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value))),
    ...across.map(([value, words]) => draw("text", { class: "tick", x: x(value), y: HEIGHT - 8, "text-anchor": "middle" }, words)),
  ];
  return { x, y, marks };
}

/** Abbreviate thousands and millions by a letter, since space beside an axis is narrow. */
function short(value) {
  const sizes = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [size, letter] = sizes.find(([limit]) => value >= limit) ?? [1, ""];
  return `${digits(value / size, 4)}${letter}`;
}

function steps(longest, most) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find(size => longest / size <= most) ?? 1000;
  const out = [1];
  for (let at = step; at <= longest; at += step) if (at > 1 && at - 1 >= step / 2) out.push(at);
  return out;
}
