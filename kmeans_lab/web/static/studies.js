// The tab of studies: claims about k-means, and what was found when they were tried.
import { ask } from "./api.js";
import { find, make } from "./dom.js";

const HEADS = ["Source", "What it says", "What was found", "Verdict"];

export class Studies {
  constructor() {
    this.loaded = false;
  }

  async open() {
    if (this.loaded) return;
    this.loaded = true;
    const room = find("#studies-room");
    try {
      const found = await ask("/api/studies");
      const studies = found.studies ?? found;
      room.replaceChildren(...(studies.length ? studies.map(study) : [empty(found.sentence)]));
    } catch (problem) {
      room.replaceChildren(make("p", { className: "sentence" }, problem.message));
    }
  }
}

const empty = sentence => sentence ? make("p", { className: "faint" }, sentence)
  : make("p", { className: "faint" }, "This server has no folder of studies. Make one: ",
    make("code", {}, "kmeans-lab study all -o studies"), ", then ",
    make("code", {}, "kmeans-lab serve --studies studies"), ".");

function study(it) {
  const claims = it.claims ?? [];
  return make("section", { className: "card study", "aria-labelledby": `study-${it.name}` },
    make("h2", { id: `study-${it.name}` }, it.title),
    make("p", { className: "faint" }, make("code", {}, `kmeans-lab study ${it.name}`)),
    make("div", { className: "figures" }, ...it.figures.map(figure => make("figure", {},
      make("img", { src: `/api/studies/${encodeURIComponent(figure.file)}`, alt: figure.caption, loading: "lazy" }),
      make("figcaption", {}, figure.caption)))),
    claims.length ? make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Claims: ${it.title}` },
      make("table", {}, make("thead", {}, make("tr", {}, ...HEADS
        .map(name => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...claims.map(row)))) : "");
}

const row = claim => make("tr", {},
  ...[claim.source, claim.words, claim.found, claim.verdict].map((words, i) => make("td", {
    "data-label": HEADS[i], className: i === 3 ? `is-${words.split(" ").at(-1)}` : "",
  }, words)));
