// What a person chose, as one plain object, and the same in the query string of the page.

export const STARTS = {
  "": "the preset's own",
  "k-means++": "k-means++, greedy",
  d2: "k-means++ as published (D² draws)",
  random: "rows drawn at random",
  "random-partition": "a random partition",
  first: "the first rows",
};

export const OWN = { n: 20000, d: 2, k: 8, spread: 1.2, seed: 7 };

export const DEFAULTS = {
  mode: "measure",
  lanes: [["python", 1], ["numpy", 1], ["cpp-simd", 1]],
  baseline: 0,
  preset: "standard",
  ...OWN,
  start: "",
  start_seed: "",
  max_iter: "",
};

/** What takes the place of the default lanes where plain Python is too slow. */
export const FASTER = [["numpy", 1], ["cpp", 1], ["cpp-simd", 1]];

const NUMBERS = ["n", "d", "k", "spread", "seed"];

/** Read choices from a query string; what is missing or makes no sense is the default. */
export function read(query) {
  const asked = new URLSearchParams(query);
  const choice = structuredClone(DEFAULTS);
  if (["measure", "race"].includes(asked.get("mode"))) choice.mode = asked.get("mode");
  const lanes = (asked.get("lanes") ?? "").split(",").filter(Boolean).map(lane => {
    const [kernel, threads] = lane.split(":");
    return [kernel, Math.max(1, Math.trunc(Number(threads)) || 1)];
  });
  if (lanes.length) choice.lanes = lanes.slice(0, 4);
  const baseline = Number(asked.get("baseline"));
  if (baseline in choice.lanes) choice.baseline = baseline;
  if (asked.has("preset")) choice.preset = asked.get("preset");
  for (const name of NUMBERS) {
    const value = asked.get(name);
    if (value !== null && value !== "" && Number.isFinite(Number(value))) {
      choice[name] = Number(value);
      choice.preset = "";
    }
  }
  if (asked.get("start") in STARTS) choice.start = asked.get("start");
  for (const name of ["start_seed", "max_iter"]) choice[name] = asked.get(name) ?? "";
  if (!choice.preset && !choice.start) choice.start = "k-means++";
  return choice;
}

/** Write choices as a query string: only what is needed to read them back. */
export function write(choice) {
  const query = new URLSearchParams();
  query.set("mode", choice.mode);
  query.set("lanes", choice.lanes.map(lane => lane.join(":")).join(","));
  if (choice.baseline) query.set("baseline", choice.baseline);
  if (choice.preset) query.set("preset", choice.preset);
  else for (const name of NUMBERS) query.set(name, choice[name]);
  for (const name of ["start", "start_seed", "max_iter"]) {
    if (choice[name] !== "") query.set(name, choice[name]);
  }
  return query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
}

/** The body of the request that starts a race. */
export function order(choice) {
  const own = Object.fromEntries([
    ["n_samples", choice.n], ["n_features", choice.d], ["n_clusters", choice.k],
    ["spread", choice.spread], ["seed", choice.seed],
  ]);
  const number = text => text === "" ? null : Number(text);
  return {
    mode: choice.mode,
    workload: choice.preset ? { preset: choice.preset } : own,
    start: choice.start || null,
    start_seed: number(choice.start_seed) ?? 7,
    max_iter: number(choice.max_iter),
    baseline: choice.baseline,
    lanes: choice.lanes.map(([kernel, threads]) => ({ kernel, threads })),
  };
}
