// The card of one lane: its state, its picture and its result.
import { calm, draw, make, say } from "./dom.js";
import { OVER } from "./race.js";
import { Scatter } from "./scatter.js";
import { digits, percent, plural, ticking, time, whole } from "./words.js";

export const PHASES = ["prepare", "init", "assign", "update", "finish"];

const STATES = {
  waiting: "waits for its turn",
  starting: "starting a process",
  preparing: "preparing",
  running: "running",
  replaying: "measured, ready to replay",
  done: "done",
  stopped: "stopped",
  failed: "failed",
};

const row = (name, value, note = "") => make("div", {},
  make("dt", {}, name),
  make("dd", {}, value, note && make("small", {}, ` ${note}`)));

export class LaneCard {
  constructor(race, lane, stop) {
    Object.assign(this, { race, lane });
    this.state = make("p", { className: "state" });
    this.clock = make("p", { className: "clock", "aria-hidden": "true" }, "–");
    this.where = make("p", { className: "where" }, "\u00a0");
    this.canvas = make("canvas", { role: "img", "aria-label": `Points of ${lane.kernel}` });
    this.stop = make("button", {
      type: "button", className: "small quiet", onclick: stop,
      "aria-label": `Stop ${lane.kernel}`,
    }, "Stop");
    this.found = make("div", { className: "found" });
    const heading = make("h3", { id: `lane-${lane.index}` }, lane.kernel);
    this.element = make("article",
      { className: `lane lane-${lane.index}`, "aria-labelledby": heading.id },
      make("header", {}, make("span", { className: "swatch", "aria-hidden": "true" }),
        heading, make("span", { className: "faint" }, plural(lane.threads, "thread")), this.stop),
      make("div", { className: "status" }, this.state, this.clock),
      make("div", { className: "plot" }, this.canvas), this.where, this.found);
    this.element.dataset.lane = lane.index;
  }

  /** The canvas knows its size only once it is on the page. */
  open() {
    this.scatter = new Scatter(this.canvas, this.race.points, this.race.plan.n_clusters);
  }

  close() {
    this.scatter.close();
  }

  /** Show state and result; the picture has its own clock. */
  update() {
    const { lane, element } = this;
    element.dataset.state = lane.state;
    const words = STATES[lane.state] ?? lane.state;
    const busy = ["waiting", "preparing", "running"].includes(lane.state);
    say(this.state, busy && lane.sentence ? lane.sentence : words);
    this.stop.hidden = OVER.has(lane.state) || lane.state === "replaying";
    if (this.shown === lane.result && this.told === lane.sentence) return;
    this.shown = lane.result;
    this.told = lane.sentence;
    const bad = ["failed", "stopped"].includes(lane.state) && lane.sentence;
    this.found.replaceChildren(
      ...(bad ? [make("p", { className: "sentence" }, lane.sentence)] : []),
      ...(lane.result ? this.results() : []));
  }

  results() {
    const { result } = this.lane;
    const { n_iter: count, inertia, share, phases, certificate } = result;
    const repeats = result.repeats?.length ?? 0;
    return [
      make("dl", {},
        row("Time", time(result.seconds), repeats > 1 ? `median of ${repeats}` : result.watched ? "one fit, watched" : "one fit"),
        row("Iterations", whole(count), time(result.seconds / Math.max(1, count)) + " each"),
        row("Inertia", digits(inertia, 6)),
        row("Of the limit", share === null ? "not known" : percent(share))),
      phaseBar(phases),
      certificate && make("p", { className: certificate.valid ? "proof" : "proof wrong" },
        make("strong", {}, certificate.valid ? "✓ valid" : "✗ not valid"),
        ` ${certificate.sentence}`),
    ].filter(Boolean);
  }

  /** Seconds since the lane began to run, as the page sees them. */
  tick(now) {
    const { lane } = this;
    if (lane.state === "running") say(this.clock, ticking((now - lane.since) / 1000));
    else if (lane.result) say(this.clock, time(lane.result.seconds));
  }

  /** Draw the newest frame, while a race is on. */
  live() {
    const { frames } = this.lane;
    this.picture(frames.length - 1, 0);
  }

  /** Draw what the replay shows now. */
  replay(view) {
    this.picture(view.at, calm() ? 0 : view.part);
    const begun = this.lane.frames.length > 0 || this.lane.result;
    say(this.clock, begun ? time(view.done ? this.race.seconds(this.lane) : view.seconds) : "–");
    this.element.classList.toggle("arrived", view.done && view.at >= 0);
  }

  picture(at, part) {
    if (this.at === at && this.part === part) return;
    Object.assign(this, { at, part });
    const { frames } = this.lane;
    const frame = frames[at];
    if (!frame) {
      this.scatter.draw(null, null, []);
      say(this.where, "\u00a0");
      return;
    }
    const trail = frames.slice(Math.max(0, at - 60), at + 1).map(it => it.centers);
    this.scatter.draw(frame.labels, this.mix(frame, frames[at + 1], part), trail);
    const words = `iteration ${frame.n_iter} · inertia ${digits(frame.inertia, 4)}`;
    say(this.where, words);
    this.canvas.setAttribute("aria-label",
      `Points of ${this.lane.kernel} coloured by cluster, ${words.replace(" · ", ", ")}`);
  }

  mix(frame, next, part) {
    if (!next || !part) return frame.centers;
    const eased = part * part * (3 - 2 * part);
    return frame.centers.map((value, i) => value + eased * (next.centers[i] - value));
  }

  redraw() {
    this.scatter.recolour();
  }
}

/** Where the time went: one bar, and the same in words. */
function phaseBar(phases) {
  const total = PHASES.reduce((sum, name) => sum + (phases[name] ?? 0), 0);
  if (!total) return null;
  const seen = PHASES.filter(name => phases[name] > 0.005 * total);
  let from = 0;
  const boxes = seen.map(name => {
    const width = 100 * phases[name] / total;
    const box = draw("rect", { class: name, x: from, y: 0, width, height: 10 },
      draw("title", {}, `${name} ${time(phases[name])}`));
    from += width;
    return box;
  });
  const words = seen.map(name => `${name} ${percent(phases[name] / total)}`);
  const bar = draw("svg", {
    class: "phases", role: "img", viewBox: "0 0 100 10", preserveAspectRatio: "none",
    "aria-label": `Where the time went: ${words.join(", ")}`,
  }, ...boxes);
  const keys = make("ul", { className: "keys", "aria-hidden": "true" },
    ...seen.map((name, i) => make("li", { className: name }, words[i])));
  return make("div", { className: "where-time" }, bar, keys);
}


