// The stage: shows one race at a time, live and as a replay of its frames.
import { ask, follow, remove } from "./api.js";
import { inertiaChart, inertiaNote, laneDots } from "./charts.js";
import { calm, find, make, say } from "./dom.js";
import { LaneCard } from "./lane.js";
import { Player, SHOWN } from "./player.js";
import { Race } from "./race.js";
import { digits, plural, sentence, time, title, whole } from "./words.js";

const part = name => find(`#${name}`);

export class Stage {
  constructor(changed) {
    Object.assign(this, { changed, race: null, cards: [], player: null, byTime: false, linear: false, leave: null });
    part("again").addEventListener("click", () => this.toggle());
    part("scrub").addEventListener("input", event => this.scrub(Number(event.target.value)));
    part("scrub").addEventListener("keydown", event => this.step(event));
    part("pace").addEventListener("change", event => this.pace(event.target.value));
    for (const input of document.querySelectorAll("input[name=axis]")) {
      input.addEventListener("change", () => {
        this.byTime = input.value === "time" && input.checked;
        this.charts();
      });
    }
    for (const input of document.querySelectorAll("input[name=scale]")) {
      input.addEventListener("change", () => {
        this.linear = input.value === "linear" && input.checked;
        this.charts();
      });
    }
    new ResizeObserver(() => this.charts()).observe(part("across"));
    const again = () => this.cards.forEach(card => card.redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    document.addEventListener("theme", again);
  }

  /** Show a race from its first event, in place of the one shown before. */
  open(id) {
    this.leave?.();
    this.player?.pause();
    this.cards.forEach(card => card.close());
    Object.assign(this, { race: new Race(id), cards: [], player: null });
    part("idle").hidden = true;
    part("stage").hidden = false;
    part("replay").hidden = true;
    part("across").hidden = true;
    part("agree").hidden = true;
    part("lanes").replaceChildren();
    this.leave = follow(`/api/races/${id}/events`,
      (name, data) => this.take(name, data), again => this.lost(again));
    this.headline("Getting ready …");
    document.title = "Racing · kmeans_lab";
    const narrow = matchMedia("(max-width: 979px)").matches;
    if (narrow || part("stage").getBoundingClientRect().top < 0) part("stage").scrollIntoView();
    this.changed(this.race);
    if (!this.ticking) this.tick();
  }

  /** The line broke: to a server that is gone, that was restarted, or that does not let us listen. */
  async lost(again) {
    const { race } = this;
    if (race.over) return;
    race.silent = true;  // clocks stand still
    if (again) {
      this.headline("The server does not answer; trying again …");
      return;
    }
    const known = await ask(`/api/races/${race.id}`).catch(problem => problem);
    if (race !== this.race || race.over) return;
    if (known.status !== 404) {
      this.headline("The server does not know this race any more; what it sent is shown.");
      return;
    }
    race.forget();
    this.cards.forEach(card => card.update());
    this.headline("The server was restarted; what it had sent of this race is shown.");
    document.title = "kmeans_lab";
    if (race.lanes.some(lane => lane.frames.length)) this.prepareReplay();
    this.changed(race);
  }

  take(name, data) {
    const { race } = this;
    race.silent = false;
    const before = race.lanes[data.lane]?.state;
    const lane = race.take(name, data);
    if (name === "plan") this.plan();
    if (!race.plan) {
      if (data.sentence) this.headline(data.sentence);
      if (name === "end") this.changed(race);
      return;
    }
    const card = this.cards[lane?.index];
    if (name === "frame") card.fresh = true;
    else card?.update();
    if (name === "lane" && data.state !== before) this.announce(lane);
    if (["result", "verdict"].includes(name)) this.verdict();
    else if (name === "lane") this.charts();
    if (name === "end") this.finish();
    else if (name !== "frame") this.headline(this.progress());
  }

  plan() {
    const { plan, lanes } = this.race;
    this.cards = lanes.map(lane =>
      new LaneCard(this.race, lane, () => this.stopLane(lane)));
    const room = part("lanes");
    room.replaceChildren(...this.cards.map(card => card.element));
    room.dataset.count = lanes.length;
    this.cards.forEach(card => { card.open(); card.update(); });
    const drawn = plan.drawn < plan.n_samples
      ? `${whole(plan.drawn)} of ${plural(plan.n_samples, "point")} are drawn`
      : `All ${plural(plan.n_samples, "point")} are drawn`;
    const plane = plan.n_features > 2 ? `, in the plane of the ${plan.plane}` : "";
    say(part("facts"), `${plural(plan.n_samples, "row")}, ${plural(plan.n_features, "feature")}, `
      + `${plural(plan.n_clusters, "cluster")}, at most ${plural(plan.max_iter, "iteration")}. `
      + `${drawn}${plane}.`);
    say(part("sharing"), plan.sharing ?? "");
    part("sharing").hidden = !plan.sharing;
    this.changed(this.race);
  }

  announce(lane) {
    say(part("announcer"), `${title(lane)}: ${lane.state}${lane.sentence ? `. ${lane.sentence}` : ""}`);
  }

  headline(text, more = "") {
    say(part("headline"), text);
    say(part("more"), more);
  }

  progress() {
    const { lanes, plan } = this.race;
    const busy = lanes.filter(lane => ["starting", "preparing", "running"].includes(lane.state));
    if (plan.mode === "race") return busy.length ? `Running: ${busy.map(title).join(", ")}` : "Getting ready …";
    const running = busy.filter(lane => lane.state === "running");
    if (!busy.length) return "Getting ready …";
    if (!running.length) return `Preparing ${title(busy[0])}, ${busy[0].index + 1} of ${lanes.length}`;
    return `Measuring in turns: ${running.map(title).join(", ")}`;
  }

  verdict() {
    part("across").hidden = false;
    this.charts();
    const { verdict } = this.race;
    if (!verdict) return;
    const badge = part("agree");
    if (verdict.loaded) {
      say(part("sharing"), `${sentence(verdict.loaded)}.`);
      part("sharing").hidden = false;
    }
    badge.hidden = verdict.agree === null || verdict.agree === undefined;
    badge.className = verdict.agree ? "badge" : "badge wrong";
    const all = this.race.lanes.every(lane => lane.result);
    const agree = all ? "✓ all labels agree" : "✓ labels of the finished lanes agree";
    say(badge, verdict.agree ? agree : "✗ labels differ");
  }

  charts() {
    if (!this.race || part("across").hidden) return;
    part("bars").replaceChildren(laneDots(this.race, this.linear));
    part("inertia").replaceChildren(inertiaChart(this.race, this.byTime, Math.max(240, part("inertia").clientWidth)));
    say(part("inertia-note"), inertiaNote(this.race));
    part("keys").replaceChildren(...this.race.lanes.map(lane =>
      make("li", { className: `lane-${lane.index}` }, title(lane))));
  }

  finish() {
    const { race } = this;
    const results = race.lanes.filter(lane => lane.result).length;
    const [words, labels] = results > 1 ? race.verdict?.sentence.split("; ") ?? [] : [];
    const plain = { stopped: "Stopped.", failed: "No lane finished." }[race.end] ?? "Done.";
    const [first, ...others] = (words || plain).split(", ");
    const more = race.verdict?.agree === false ? [labels] : [];
    if (/ (than|as) /.test(first)) this.headline(first, [...others, ...more].join(", "));
    else this.headline(words || plain, more.join());
    document.title = words ? `${words} · kmeans_lab` : "kmeans_lab";
    this.verdict();
    this.cards.forEach(card => card.update());
    if (race.lanes.some(lane => lane.frames.length)) this.prepareReplay();
    this.changed(race);
  }

  prepareReplay() {
    this.player = new Player(this.race, () => this.showReplay());
    part("replay").hidden = false;
    const slow = SHOWN / this.race.longest;
    const words = slow >= 1.05 ? `slowed down ${digits(slow, 2)} ×` : `sped up ${digits(1 / slow, 2)} ×`;
    const paced = find("option[value=six]", part("pace"));
    say(paced, Math.abs(slow - 1) < 0.05 ? "at the measured pace" : `${words}, the same for all`);
    part("pace").value = "six";
    if (this.race.plan.mode === "measure" && !calm()) this.player.play(0);
    else this.player.seek(this.player.length);
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else this.player.play();
  }

  scrub(share) {
    this.player.playing = false;
    this.player.seek(share / 1000 * this.player.length);
  }

  /** A press of an arrow key is one iteration, or a twentieth of the time. */
  step(event) {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const { player } = this;
    const size = player.pace === "steps" ? 1 : player.length / 20;
    player.playing = false;
    player.seek((Math.round(player.position / size) + way) * size);
  }

  pace(value) {
    this.player.change(value);
  }

  showReplay() {
    const { player, race } = this;
    this.cards.forEach(card => card.replay(player.view(card.lane)));
    const scrub = part("scrub");
    scrub.value = Math.round(1000 * player.position / (player.length || 1));
    const words = player.pace === "steps"
      ? `iteration ${Math.floor(player.position)} of ${race.iterations}`
      : `${time(player.position)} of ${time(player.length)}`;
    scrub.setAttribute("aria-valuetext", words);
    say(part("position"), words);
    say(part("again"), player.playing ? "Pause" : "Replay");
    say(part("pace-note"), {
      six: race.plan.mode === "measure"
        ? "Lanes were measured in turns and are shown side by side, each at its measured time."
        : "Each lane at the times of the race.",
      real: "One second is one second.",
      steps: "The same iteration in every lane: this shows the work, not the time.",
    }[player.pace]);
  }

  /** Update clocks and live pictures, once per animation frame. */
  tick() {
    this.ticking = true;
    const now = performance.now();
    if (this.race && !this.race.over) {
      for (const card of this.cards) {
        if (!this.race.silent) card.tick(now);
        if (card.fresh) {
          card.live();
          card.fresh = false;
        }
      }
      requestAnimationFrame(() => this.tick());
    } else this.ticking = false;
  }

  async stopLane(lane) {
    await this.end(`/api/races/${this.race.id}/lanes/${lane.index}`);
  }

  async stopAll() {
    if (this.race && !this.race.over) await this.end(`/api/races/${this.race.id}`);
  }

  async end(path) {
    await remove(path).catch(problem => this.headline(problem.message));
  }
}
