// The form; its choices are kept in the address of the page.
import { DEFAULTS, FASTER, OWN, STARTS, read, write } from "./choices.js";
import { find, make, say } from "./dom.js";
import { judge, put } from "./fields.js";
import { digits, plural, sentence, whole } from "./words.js";

const NUMBERS = [
  ["n", "Rows", { min: 1, step: 1 }],
  ["d", "Features", { min: 1, step: 1 }],
  ["k", "Clusters", { min: 1, step: 1 }],
  ["spread", "Spread", { min: 0, step: "any" }],
  ["seed", "Seed of the rows", { min: 0, step: 1 }],
];

const MODES = {
  measure: "One lane after another, each alone on the machine: these times can be trusted. Then all are replayed side by side.",
  race: "All lanes at once, each in its own process. They share memory and caches, and cores where there are too few: times are longer than for a lane alone.",
};

export class Form {
  constructor(kernels, presets, limits) {
    Object.assign(this, { kernels, presets, limits, choice: read(location.search) });
    this.element = find("#form");
    this.element.noValidate = true;  // each field has a sentence of its own
    this.usual = JSON.stringify(this.choice.lanes) === JSON.stringify(DEFAULTS.lanes);
    this.sane();
    find("#add").addEventListener("click", () => this.add());
    for (const input of document.querySelectorAll("input[name=mode], input[name=source]")) {
      input.addEventListener("change", () => this.switch(input));
    }
    this.build();
    this.show();
  }

  /** A link may name a kernel or a preset that this server does not have. */
  sane() {
    const names = new Set(this.kernels.map(kernel => kernel.name));
    const { choice } = this;
    choice.lanes = choice.lanes.filter(([name]) => names.has(name))
      .map(([name, threads]) => [name, Math.min(threads, this.limits.threads)]);
    if (!choice.lanes.length) choice.lanes = structuredClone(DEFAULTS.lanes);
    if (!(choice.baseline in choice.lanes)) choice.baseline = 0;
    if (choice.preset && !this.presets.some(preset => preset.name === choice.preset)) {
      choice.preset = this.presets[0]?.name ?? "";
    }
  }

  build() {
    const presets = find("#preset");
    presets.replaceChildren(...this.presets.map(preset =>
      make("option", { value: preset.name }, preset.name)));
    presets.addEventListener("change", () => this.set("preset", presets.value));
    find("#own").replaceChildren(...NUMBERS.map(([name, label, rules]) => make("label", {}, label,
      make("input", {
        type: "number", name, id: `own-${name}`, required: true, ...rules, "data-name": label,
        "data-why": " on this server", max: { n: this.limits.rows, d: this.limits.features, k: this.limits.clusters }[name] ?? "",
        value: this.choice[name],
        oninput: event => judge(event.target) && this.set(name, Number(event.target.value)),
      }))));
    find("#max_iter").max = this.limits.iterations;
    for (const name of ["start", "start_seed", "max_iter"]) {
      const input = find(`#${name}`);
      input.addEventListener("input", () => this.set(name, input.value));
    }
  }

  set(name, value) {
    this.choice[name] = value;
    this.show();
  }

  switch(input) {
    if (input.name === "mode") this.choice.mode = input.value;
    else if (input.value === "own") Object.assign(this.choice, { preset: "", start: this.choice.start || "k-means++" });
    else Object.assign(this.choice, { preset: this.presets[0].name, start: "" }, OWN);
    this.show();
  }

  add() {
    const taken = new Set(this.choice.lanes.map(([name]) => name));
    const ready = this.kernels.filter(kernel => kernel.state === "ready");
    const next = ready.find(kernel => !taken.has(kernel.name)) ?? ready[0];
    this.usual = false;
    this.choice.lanes.push([next.name, 1]);
    this.show();
    find(`#kernel-${this.choice.lanes.length - 1}`).focus();
  }

  drop(index) {
    const { choice } = this;
    this.usual = false;
    choice.lanes.splice(index, 1);
    if (choice.baseline === index) choice.baseline = 0;
    else if (choice.baseline > index) choice.baseline -= 1;
    this.show();
    find(`#kernel-${Math.min(index, choice.lanes.length - 1)}`).focus();
  }

  /** Bring every control and the address in line with what is chosen. */
  show() {
    const { choice } = this;
    if (this.usual) this.choose();
    this.lanes();
    for (const input of document.querySelectorAll("input[name=mode]")) input.checked = input.value === choice.mode;
    for (const input of document.querySelectorAll("input[name=source]")) {
      input.checked = (input.value === "own") === !choice.preset;
    }
    say(find("#mode-note"), MODES[choice.mode]);
    find("#from-preset").hidden = !choice.preset;
    find("#own").hidden = Boolean(choice.preset);
    for (const input of document.querySelectorAll("#own input")) {
      input.disabled = Boolean(choice.preset);
      put(input, choice[input.name]);
    }
    if (choice.preset) find("#preset").value = choice.preset;
    this.starts();
    for (const name of ["start_seed", "max_iter"]) put(find(`#${name}`), choice[name]);
    this.notes();
    this.judge();
    history.replaceState(null, "", `?${write(choice)}${location.hash === "#run" ? "" : location.hash}`);
  }

  starts() {
    const { choice } = this;
    const own = Object.entries(STARTS).filter(([name]) => name || choice.preset);
    find("#start").replaceChildren(...own.map(([name, words]) => make("option", { value: name }, words)));
    find("#start").value = choice.start;
    find("#start_seed").disabled = choice.start === "";
    find("#start_seed").placeholder = choice.start ? "7" : "–";
  }

  notes() {
    const { choice } = this;
    const preset = this.presets.find(it => it.name === choice.preset);
    find("#max_iter").placeholder = preset ? whole(preset.max_iter) : "100";
    if (preset) {
      const { n_samples: n, n_features: d, n_clusters: k } = preset;
      say(find("#preset-note"), `${sentence(preset.summary)}. ${whole(n)} × ${whole(d)}, ${plural(k, "cluster")}.`);
    }
    const python = choice.lanes.some(([name]) => name === "python");
    const [n, d, k] = preset ? [preset.n_samples, preset.n_features, preset.n_clusters] : [choice.n, choice.d, choice.k];
    const rough = python ? n * d * k * 7e-8 : 0;
    say(find("#cost"), rough > 2 ? `Plain Python needs roughly ${digits(rough, 1)} s for each iteration of this.` : "");
  }

  /** Of the lanes that nobody has chosen, take those that can run on these data. */
  choose() {
    const { choice } = this;
    choice.lanes = structuredClone(DEFAULTS.lanes);
    if (choice.lanes.some(lane => this.obstacle(lane))) choice.lanes = structuredClone(FASTER);
    choice.lanes = choice.lanes.filter(([name]) => this.kernels.some(kernel => kernel.name === name));
  }

  /** Rows × clusters × features, and iterations at most, of what is chosen. */
  size() {
    const { choice } = this;
    const preset = this.presets.find(it => it.name === choice.preset);
    const [n, d, k] = preset ? [preset.n_samples, preset.n_features, preset.n_clusters] : [choice.n, choice.d, choice.k];
    return [n * d * k, Number(choice.max_iter) || preset?.max_iter || 100];
  }

  /** Why a lane cannot run on these data here, as one sentence; empty where it can. */
  obstacle([name]) {
    const { limits } = this;
    const kernel = this.kernels.find(it => it.name === name);
    const [nkd, iterations] = this.size();
    if (!kernel) return "";
    if (kernel.broadcasts && nkd > limits.temporary) return `${name} needs more memory for these data than this server gives; choose another kernel.`;
    const most = kernel.threading === "gil" ? limits.pairs_python : kernel.broadcasts ? limits.pairs_broadcast : limits.pairs;
    if (nkd * iterations <= most) return "";
    const fewer = Math.floor(most / nkd);
    return `${name} is too slow for these data here; choose another kernel${fewer ? `, or at most ${plural(fewer, "iteration")}` : ""}.`;
  }

  /** Let Run be pressed where every field is right and every lane can run; say why where not. */
  judge() {
    const obstacles = this.choice.lanes.map(lane => this.obstacle(lane)).filter(Boolean);
    say(find("#obstacle"), [...new Set(obstacles)].join(" "));
    this.blocked = obstacles.length > 0;
    this.changed?.();
  }

  /** The first field that is wrong, or null. */
  wrong() {
    return [...this.element.querySelectorAll("input[type=number]")].find(input => input.offsetParent && !judge(input)) ?? null;
  }

  lanes() {
    const { choice, kernels, limits } = this;
    const focused = document.activeElement?.id;
    const many = choice.lanes.length;
    const rows = choice.lanes.map(([name, threads], index) => {
      const set = (at, value) => { choice.lanes[index][at] = value; this.usual = false; this.show(); };
      return make("li", { className: `lane-${index}` },
        make("span", { className: "swatch", "aria-hidden": "true" }),
        make("select", {
          id: `kernel-${index}`, "aria-label": `Kernel of lane ${index + 1}`,
          onchange: event => set(0, event.target.value),
        }, ...kernels.map(kernel => make("option", {
          value: kernel.name, selected: kernel.name === name, disabled: kernel.state !== "ready",
          title: kernel.reason || kernel.summary,
        }, kernel.state === "ready" ? kernel.name : `${kernel.name} (${kernel.state}: ${kernel.reason})`))),
        make("input", {
          type: "number", id: `threads-${index}`, min: 1, max: limits.threads, value: threads, required: true,
          "aria-label": `Threads of lane ${index + 1}`, title: "Threads", step: 1,
          "data-name": "Threads", "data-why": ", the cores of this machine",
          oninput: event => judge(event.target),
          onchange: event => judge(event.target) && set(1, event.target.valueAsNumber),
        }),
        make("label", { className: "base", title: "Times are compared with the baseline" },
          make("input", {
            type: "radio", name: "baseline", id: `base-${index}`, checked: index === choice.baseline,
            "aria-label": `Lane ${index + 1} is the baseline`,
            onchange: () => { choice.baseline = index; this.show(); },
          })),
        make("button", {
          type: "button", className: "icon", disabled: many < 2, onclick: () => this.drop(index),
          "aria-label": `Remove lane ${index + 1}`,
        }, "×"));
    });
    find("#lane-list").replaceChildren(...rows);
    if (/^(kernel|threads|base)-/.test(focused ?? "")) document.getElementById(focused)?.focus();
    find("#add").disabled = many >= limits.lanes;
    const missing = kernels.filter(kernel => kernel.state !== "ready");
    say(find("#missing"), missing.map(kernel => `${kernel.name} cannot run here: ${kernel.reason}.`).join(" "));
  }

  complain(problem) {
    for (const input of this.element.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    const lines = problem.errors?.length ? problem.errors.map(error => error.sentence) : [problem.message];
    find("#problem-words").replaceChildren(...lines.map(line => make("p", {}, line)));
    find("#problem").hidden = false;
  }

  content() {
    find("#problem").hidden = true;
  }
}
