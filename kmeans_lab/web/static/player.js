// The clock of a replay: one position for all lanes, moved by the user or by time.

/** Seconds that the slowest lane takes in the paced replay. */
export const SHOWN = 6;
const STEP = 0.25;  // seconds per iteration

export class Player {
  constructor(race, show) {
    Object.assign(this, { race, show, position: 0, playing: false, pace: "six", frame: 0 });
    this.moments = race.lanes.map(lane => race.moments(lane));
  }

  /** The end of the scale: seconds of the slowest lane, or iterations. */
  get length() {
    return this.pace === "steps" ? this.race.iterations : this.race.longest;
  }

  /** How much the position moves in one second of the clock on the wall. */
  get rate() {
    if (this.pace === "real") return 1;
    if (this.pace === "six") return this.race.longest / SHOWN;
    return 1 / Math.max(STEP * Math.min(1, 40 / Math.max(1, this.length)), 0.01);
  }

  play(from = this.position >= this.length ? 0 : this.position) {
    this.position = from;
    this.playing = true;
    let before = performance.now();
    const tick = now => {
      if (!this.playing) return;
      this.position = Math.min(this.length, this.position + this.rate * (now - before) / 1000);
      before = now;
      if (this.position >= this.length) this.playing = false;
      this.show();
      if (this.playing) this.frame = requestAnimationFrame(tick);
    };
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(tick);
    this.show();
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.show();
  }

  seek(position) {
    this.position = Math.min(this.length, Math.max(0, position));
    this.show();
  }

  change(pace) {
    const share = this.length ? this.position / this.length : 1;
    this.pace = pace;
    this.seek(share * this.length);
  }

  /** What a lane shows now: the frame before, the way to the next (0…1), and whether it is done. */
  view(lane) {
    const moments = this.moments[lane.index];
    const { position } = this;
    if (!moments.length) return { at: -1, part: 0, seconds: 0, done: true };
    const last = moments.length - 1;
    if (this.pace === "steps") {
      const at = lane.frames.findLastIndex(frame => frame.n_iter <= position + 1e-9);
      return this.between(lane, at, position - (lane.frames[at]?.n_iter ?? 0), at >= last);
    }
    const at = moments.findLastIndex(moment => moment <= position + 1e-12);
    const gap = (moments[at + 1] ?? 0) - (moments[at] ?? 0);
    return this.between(lane, at, gap > 0 ? (position - (moments[at] ?? 0)) / gap : 0, at >= last);
  }

  between(lane, at, part, done) {
    const total = this.race.seconds(lane);
    const moments = this.moments[lane.index];
    const seconds = this.pace === "steps" ? (moments[at] ?? 0) : Math.min(this.position, total);
    return { at, part: done ? 0 : Math.min(1, Math.max(0, part)), seconds, done };
  }
}
