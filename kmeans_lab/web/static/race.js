// The state of one race, built from the events received so far.
import { floats, labels } from "./api.js";

export const OVER = new Set(["done", "stopped", "failed"]);

export class Race {
  constructor(id) {
    Object.assign(this, { id, plan: null, lanes: [], verdict: null, end: null, lost: false, silent: false });
  }

  /** Take in one event; returns the lane that it is about, or null. */
  take(name, data) {
    if (name === "plan") {
      this.plan = data;
      this.points = floats(data.points);
      this.lanes = data.lanes.map((lane, index) => ({
        ...lane, index, state: "waiting", sentence: "", since: 0, frames: [], result: null,
      }));
      return null;
    }
    if (name === "verdict") this.verdict = data;
    if (name === "end") this.end = data.state;
    const lane = this.lanes[data.lane];
    if (!lane) return null;
    if (name === "lane") this.enter(lane, data);
    if (name === "frame") lane.frames.push(this.frame(data));
    if (name === "result") lane.result = data;
    return lane;
  }

  enter(lane, { state, sentence }) {
    if (state !== lane.state) lane.since = performance.now();
    lane.state = state;
    lane.sentence = sentence ?? "";
  }

  /** The server does not know this race any more: nothing follows. */
  forget() {
    this.lost = true;
    this.end = "stopped";
    for (const lane of this.lanes) {
      if (!OVER.has(lane.state)) this.enter(lane, { state: "stopped", sentence: "The server was restarted." });
    }
  }

  frame(data) {
    return {
      ...data,
      centers: floats(data.centers),
      labels: labels(data.labels, this.plan.n_clusters),
    };
  }

  get over() {
    return this.end !== null;
  }

  /** Seconds of a lane: what was measured, or in a race what its last frame says. */
  seconds(lane) {
    return lane.result?.seconds ?? lane.frames.at(-1)?.seconds ?? 0;
  }

  /** The moment of each frame, stretched to the measured time: watching a fit slows it down. */
  moments(lane) {
    const last = lane.frames.at(-1)?.seconds ?? 0;
    const stretch = last > 0 && lane.result ? lane.result.seconds / last : 1;
    return lane.frames.map(frame => frame.seconds * stretch);
  }

  get longest() {
    return Math.max(0, ...this.lanes.map(lane => this.seconds(lane)));
  }

  get iterations() {
    return Math.max(0, ...this.lanes.map(lane => lane.frames.at(-1)?.n_iter ?? 0));
  }
}
