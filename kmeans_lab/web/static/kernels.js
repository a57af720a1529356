// The tab of kernels: the ladder from plain Python to the machine's limit, and one kernel explained.
import { ask } from "./api.js";
import { dots } from "./charts.js";
import { DEFAULTS } from "./choices.js";
import { find, make, say } from "./dom.js";
import { digits, percent, sentence, time, times, whole } from "./words.js";

export class Kernels {
  constructor(kernels, chosen, changed) {
    Object.assign(this, { kernels, changed, loaded: false });
    this.choice = find("#which");
    this.choice.replaceChildren(...kernels.map(kernel => make("option", { value: kernel.name }, kernel.name)));
    const ready = kernels.filter(kernel => kernel.state === "ready");
    const first = name => kernels.find(kernel => kernel.name === name);
    this.choice.value = (first(chosen) ?? first(DEFAULTS.lanes.at(-1)[0]) ?? ready.at(-1) ?? kernels.at(-1))?.name;
    this.choice.addEventListener("change", () => this.show());
    find("#explain").addEventListener("click", () => this.explain());
  }

  /** Load the tab when it is first opened, and nothing before that. */
  async open() {
    if (this.loaded) return;
    this.loaded = true;
    this.show();
    this.costs();
    say(find("#ladder-note"), "Measuring the ladder on this machine; this takes some seconds …");
    try {
      this.ladder(await ask("/api/ladder"));
    } catch (problem) {
      this.loaded = false;
      say(find("#ladder-note"), problem.message);
    }
  }

  ladder(kept) {
    const rows = kept.rungs.map(rung => ({
      name: rung.rung,
      value: rung.seconds,
      words: `${time(rung.seconds)} · ${times(rung.times)}`,
      idea: sentence(rung.idea),
    }));
    find("#ladder").replaceChildren(
      dots(rows, `Seconds of each kernel, preset ${kept.preset}, log scale`, { limit: kept.limit }),
      make("details", {}, make("summary", {}, "The machine"),
        make("ul", { className: "plain" }, ...[kept.machine ?? []].flat().map(line => make("li", {}, line)))));
    say(find("#ladder-note"), `Preset ${kept.preset}: ${kept.what}. Each × compares with the first line.`
      + (kept.limit ? ` The dashed line (${time(kept.limit)}) is a pass that does nothing but all multiply-adds, at this machine's rate.` : ""));
  }

  async costs() {
    try {
      const { setting, machine, numbers, words } = await ask("/api/choosing");
      find("#costs").replaceChildren(cells(numbers, "What each tool costs, in numbers", "numbers"),
        make("details", {}, make("summary", {}, "Debuggers, threads and wheels"), cells(words, "What each tool costs, in words")));
      say(find("#costs-note"), `Recorded with this release, not on this machine: ${machine[0]}. ${setting} Of your own machine: kmeans-lab overhead.`);
    } catch (problem) {
      say(find("#costs-note"), problem.message);
    }
  }

  async show() {
    const name = this.choice.value;
    this.changed(name);
    const kernel = this.kernels.find(it => it.name === name);
    const built = kernel.build ? ` Built with ${kernel.build}.` : "";
    const state = kernel.state === "ready" ? "" : ` It cannot run here: ${kernel.reason}.`;
    const threads = { gil: "one thread", nogil: "Python threads", own: "its own threads" }[kernel.threading];
    say(find("#kernel-note"), `${sentence(kernel.summary)}; ${whole(kernel.lines ?? 0)} lines, ${threads ?? kernel.threading}.${built}${state}`);
    find("#explain").disabled = kernel.state !== "ready";
    find("#explained").replaceChildren();
    try {
      const { files } = await ask(`/api/kernels/${encodeURIComponent(name)}/source`);
      if (this.choice.value === name) find("#source").replaceChildren(...files.map(listing));
    } catch (problem) {
      find("#source").replaceChildren(make("p", { className: "sentence" }, problem.message));
    }
  }

  async explain() {
    const name = this.choice.value;
    const button = find("#explain");
    button.disabled = true;
    find("#explained").replaceChildren(make("p", { className: "faint" }, `Measuring ${name} and the machine; this takes some seconds …`));
    try {
      const found = await ask(`/api/kernels/${encodeURIComponent(name)}/explain`);
      if (this.choice.value === name) find("#explained").replaceChildren(...explained(found));
    } catch (problem) {
      find("#explained").replaceChildren(make("p", { className: "sentence" }, problem.message));
    } finally {
      button.disabled = false;
    }
  }
}

function explained(found) {
  const rows = Object.entries(found.steps).map(([step, it]) => make("tr", {},
    make("th", { scope: "row" }, step), make("td", {}, time(it.seconds)),
    make("td", {}, share(it.of_peak)), make("td", {}, share(it.of_read))));
  const roof = found.roof?.operations?.float64
    ? `The limits were measured just now: ${digits(found.roof.operations.float64 / 1e9)} G operations and ${digits(found.roof.read / 1e9)} GB a second.` : "";
  return [
    make("p", { className: "verdict" }, found.verdict),
    make("table", {}, make("thead", {}, make("tr", {}, ...["Step", "One iteration", "Of the multiply-adds", "Of the bandwidth"]
      .map(name => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows)),
    make("p", { className: "faint" }, roof),
  ];
}

const share = value => value === null || value === undefined ? "–" : percent(value);

function cells([headers, ...rows], label, className = "") {
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, make("table", { className },
    make("thead", {}, make("tr", {}, ...headers.map(name => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([name, ...others]) => make("tr", {},
      make("th", { scope: "row" }, name), ...others.map(text => make("td", {}, text)))))));
}

function listing(file, index) {
  const lines = file.text.replace(/\n$/, "").split("\n");
  return make("details", { open: index === 0 },
    make("summary", {}, file.name, " ", make("small", {}, `${whole(lines.length)} lines`)),
    make("pre", { tabIndex: 0, role: "region", "aria-label": `Source of ${file.name}` },
      make("code", {}, ...lines.map(line => make("span", {}, line || " ", "\n")))));
}
