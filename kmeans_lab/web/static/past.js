// The races that this server remembers.
import { ask } from "./api.js";
import { find, make, say } from "./dom.js";

const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

const when = started => {
  const date = new Date(typeof started === "number" ? started * 1000 : started);
  return Number.isNaN(date.getTime()) ? String(started) : clock.format(date);
};

const name = lane => typeof lane === "string" ? lane
  : lane.threads > 1 ? `${lane.kernel} × ${lane.threads}` : lane.kernel;

export async function races() {
  return ask("/api/races").catch(() => []);
}

/** Fill the list; a click shows a race again. */
export async function showPast(shown, open) {
  const all = await races();
  const list = find("#past");
  list.replaceChildren(...all.map(race => make("li", {},
    make("button", {
      type: "button", onclick: () => open(race.id),
      "aria-current": race.id === shown ? "true" : null,
    },
      make("strong", {}, race.lanes.map(name).join(" · ")),
      make("small", {}, `${when(race.started)} · ${race.mode} · ${race.title} · ${race.state}`)))));
  say(find("#past-note"), all.length ? "" : "None yet.");
  return all;
}
