// Entry point of the page: loads kernels and presets, then connects form, stage and tabs.
import { ask, post } from "./api.js";
import { order } from "./choices.js";
import { isDark } from "./colours.js";
import { find, say } from "./dom.js";
import { Form } from "./form.js";
import { showIdle } from "./idle.js";
import { Kernels } from "./kernels.js";
import { races, showPast } from "./past.js";
import { OVER } from "./race.js";
import { Stage } from "./stage.js";
import { Studies } from "./studies.js";
import { Tabs } from "./tabs.js";

/** The tab is kept behind the #, the choices in the query: a link brings both back. */
function remember(tab, kernel = "") {
  const hash = tab === "race" ? "" : `#${tab}${kernel ? `/${kernel}` : ""}`;
  const before = location.hash.slice(1).split("/")[0] || "race";
  const where = location.pathname + location.search + hash;
  if (["race", "kernels", "studies"].includes(before) && before !== tab) history.pushState(null, "", where);
  else history.replaceState(null, "", where);
}

const isOn = race => !OVER.has(race.state);

function themes() {
  const button = find("#theme");
  const name = () => say(button, isDark() ? "Light" : "Dark");
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
    name();
    document.dispatchEvent(new Event("theme"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
}

function link(form) {
  const button = find("#share");
  button.addEventListener("click", async () => {
    form.show();
    const written = navigator.clipboard?.writeText(`${location.origin}/${location.search}#run`);
    say(button, await Promise.resolve(written ?? Promise.reject()).then(() => "Copied", () => "Not allowed"));
    setTimeout(() => say(button, "Copy link"), 1500);
  });
}

class Page {
  constructor(kernels, presets, limits) {
    const [tab, kernel] = location.hash.slice(1).split("/");  // the form rewrites the address
    this.form = new Form(kernels, presets, limits);
    this.stage = new Stage(race => this.changed(race));
    const studies = new Studies();
    const ladder = new Kernels(kernels, kernel, name => remember("kernels", name));
    const tabs = new Tabs(find("[role=tablist]"), name => {
      remember(name, name === "kernels" ? ladder.choice.value : "");
      if (name === "kernels") ladder.open();
      if (name === "studies") studies.open();
    });
    this.form.element.addEventListener("submit", event => { event.preventDefault(); this.run(); });
    this.form.changed = () => this.busy(this.racing);
    find("#stop").addEventListener("click", () => this.stage.stopAll());
    find("#watch").addEventListener("click", () => this.watch());
    link(this.form);
    this.busy(false);
    const run = tab === "run";
    tabs.open(["kernels", "studies"].includes(tab) ? tab : "race");
    addEventListener("popstate", () => tabs.open(location.hash.slice(1).split("/")[0] || "race"));
    showPast(null, id => this.stage.open(id)).then(all => {
      if (run) this.run();
      else this.onNow(all);
    });
  }

  /** Offer to watch a race that another page has started. */
  onNow(all) {
    if (all.some(isOn)) {
      this.form.complain({ message: "A race is already running on this server." });
      find("#watch").hidden = false;
    }
  }

  async run() {
    this.form.content();
    const wrong = this.form.wrong();
    if (wrong) return wrong.focus();
    if (this.form.blocked) return;
    this.busy(true);
    try {
      const { id } = await post("/api/races", order(this.form.choice));
      this.stage.open(id);
    } catch (problem) {
      this.busy(false);
      this.form.complain(problem);
      find("#watch").hidden = problem.status !== 503;
    }
  }

  async watch() {
    const running = (await races()).find(isOn);
    if (running) this.stage.open(running.id);
    this.form.content();
  }

  busy(on) {
    this.racing = on;
    find("#run").disabled = on || this.form.blocked;
    find("#stop").disabled = !on;
  }

  changed(race) {
    this.busy(!race.over);
    find("#save").hidden = !race.over || race.lost;
    if (race.over) {
      find("#json").href = `/api/races/${race.id}`;
      find("#json").download = `race-${race.id}.json`;
      find("#report").href = `/api/races/${race.id}/report`;
      find("#report").download = `race-${race.id}.html`;
    }
    if (race.plan || race.over) showPast(race.id, id => this.stage.open(id));
  }
}

themes();
showIdle(find("#idle-plot"));
try {
  const [kernels, presets, limits] = await Promise.all(
    ["/api/kernels", "/api/presets", "/api/limits"].map(path => ask(path)));
  new Page(kernels, presets, limits);
  document.body.dataset.ready = "yes";
} catch (problem) {
  say(find("#idle-note"), problem.message);
  throw problem;
}
