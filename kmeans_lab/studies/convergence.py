"""What happens from one iteration to the next, and what each stop rule makes of it.

The tutorial shows six frames of four blobs; here each frame is an iteration of the driver, seen
by its callback. The six stop rules then meet the standard preset, which goes on for 42 iterations.
"""

import base64
import io
from itertools import pairwise
from typing import Any

from kmeans_lab import kmeans
from kmeans_lab.io.outputs import write_file
from kmeans_lab.presets import PRESETS, FitSettings
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, draw_clusters
from kmeans_lab.studies.sources import DEMO, POOLS, TUTORIAL, WALK, tutorial_blobs, tutorial_start

SEED = 42  # the tutorial's
RULES = {  # name → the tolerance of the source that has it, and which source
    "max-iter": (None, DEMO),
    "equal": (None, WALK),
    "shift": (1e-4, "scikit-learn"),
    "shift-norm": (1e-4, DEMO),
    "allclose": (1e-5, TUTORIAL),
    "labels": (0.01, POOLS),
}


def run(book: Notebook) -> None:
    """Draw the frames and the animation, then hold the six rules against each other."""
    X, _ = tutorial_blobs()
    frames = _watch(book, X)
    _animate(book, X, frames)
    _rules(book)


def _watch(book: Notebook, X: Any) -> list[Iteration]:
    """Fit as the tutorial does, and keep every iteration."""
    frames: list[Iteration] = []
    start = tutorial_start(X, 4, SEED)
    result = kmeans(X, 4, init=start, stop="allclose", max_iter=100, callback=frames.append)
    best = kmeans(X, 4, n_init=100, tol=0.0, random_state=SEED)
    book.claim(
        TUTORIAL,
        "repeat until the centers stop moving: 100 iterations are enough",
        f"the centers stop moving after {result.n_iter} iterations, and no iteration raises the "
        "inertia",
        result.n_iter < 100 and all(a.inertia >= b.inertia for a, b in pairwise(frames)),
    )
    book.claim(
        TUTORIAL,
        f"seed {SEED} finds the four clusters (the figure that it shows)",
        f"the fit ends at an inertia of {result.inertia:,.0f}, the best of 100 starts at "
        f"{best.inertia:,.0f}: two centers share one blob, and two blobs share one center",
        result.inertia < 1.001 * best.inertia,
    )
    book.say(
        f"The tutorial's 300 points, with the rows that its seed {SEED} draws as the start. Each "
        "frame shows the centers, and the rows in the colours of the centers that they were "
        "assigned to."
    )
    caption = "Six iterations, from the tutorial's own start"
    with book.figure("frames", caption, 2, 3, (9.0, 5.6)) as axes:
        for axis, frame in zip(axes.flat, frames, strict=False):
            _frame(axis, X, frame)
    rows = [{"iteration": it.n_iter, "inertia": it.inertia, "changed": it.changed} for it in frames]
    book.table("iterations", rows, shown=True)
    caption = "Inertia and changed labels, iteration by iteration"
    with book.figure("inertia", caption, 1, 2, (8.0, 3.2)) as axes:
        steps = [it.n_iter for it in frames]
        axes[0].plot(steps, [it.inertia for it in frames], "o-", color=PALETTE[0])
        axes[0].set(title="Inertia", xlabel="iteration", ylim=(0, None))
        axes[1].bar(steps, [it.changed for it in frames], color=PALETTE[1])
        axes[1].set(title="Labels that changed", xlabel="iteration")
    return frames


def _frame(axis: Any, X: Any, frame: Iteration) -> None:
    draw_clusters(axis, X, frame.labels, frame.centers)
    axis.set_title(f"Iteration {frame.n_iter}: inertia {frame.inertia:,.0f}")
    axis.set_axis_off()


def _animate(book: Notebook, X: Any, frames: list[Iteration]) -> None:
    """Write the frames as a GIF, and as a page that plays them and fetches nothing."""
    import matplotlib
    from matplotlib.figure import Figure
    from PIL import Image

    pictures = []
    for frame in frames:
        with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 9.0}):
            figure = Figure(figsize=(4.8, 4.0), layout="constrained")
            axis = figure.subplots()
            _frame(axis, X, frame)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
        pictures.append(file.getvalue())
    first, *others = (Image.open(io.BytesIO(it)).convert("RGB").quantize(128) for it in pictures)
    animation = io.BytesIO()
    first.save(
        animation,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[700] * len(others) + [2500],
        loop=0,
    )
    write_file(book.path("animation.gif"), animation.getvalue())
    images = "".join(
        f'<img alt="iteration {i}" src="data:image/png;base64,{base64.b64encode(it).decode()}">'
        for i, it in enumerate(pictures, 1)
    )
    write_file(book.path("animation.html"), _PLAYER.replace("IMAGES", images))
    book.say(
        f"The same frames as an [animation]({book.name}-animation.gif) and as a [page that plays "
        f"them]({book.name}-animation.html)."
    )


_PLAYER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>k-means, iteration by iteration</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 540px; color: #22252b;
       background: #fff; padding: 0 1rem }
img { width: 100%; display: none } img.on { display: block }
form { display: flex; gap: .75rem; align-items: center } input { flex: 1; accent-color: #3f90da }
button { font: inherit; min-width: 5.5rem; padding: .35rem .8rem; border: 1px solid #c9ccd2;
         border-radius: 6px; background: #fff; cursor: pointer }
</style></head><body>
<h1>k-means, iteration by iteration</h1>
<div id="frames">IMAGES</div>
<form><button type="button">Play</button>
<input type="range" min="0" value="0" step="1" aria-label="iteration"><output>1</output></form>
<script>
const frames = [...document.querySelectorAll("img")], button = document.querySelector("button");
const slider = document.querySelector("input"), number = document.querySelector("output");
let timer = null;
slider.max = frames.length - 1;
const show = () => {
  frames.forEach((it, i) => it.classList.toggle("on", i === +slider.value));
  number.value = `${+slider.value + 1} of ${frames.length}`;
};
const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
button.onclick = () => {
  if (timer) return stop();
  if (+slider.value === frames.length - 1) slider.value = 0;
  show();
  button.textContent = "Pause";
  timer = setInterval(() => {
    slider.value = +slider.value + 1;
    show();
    if (+slider.value === frames.length - 1) stop();
  }, 700);
};
slider.oninput = show;
show();
</script></body></html>
"""


def _rules(book: Notebook) -> None:
    """End the standard preset by each rule; compare with where it comes to rest."""
    preset = PRESETS["standard"].load()
    k = len(preset.centers)
    options: FitSettings = {"init": preset.centers, "max_iter": 300}
    to_rest: FitSettings = {"stop": "shift", "tol": 0.0, "history": True}
    rest = kmeans(preset.X, k, **(options | to_rest))
    rows: list[Row] = []
    for rule, (tol, source) in RULES.items():
        most = preset.preset.max_iter if rule == "max-iter" else options["max_iter"]
        rules: FitSettings = {"stop": rule, "tol": tol, "max_iter": most}
        found = kmeans(preset.X, k, **(options | rules))
        rows.append(
            {
                "rule": rule,
                "tol": "" if tol is None else f"{tol:g}",
                "used by": source,
                "iterations": found.n_iter,
                "distances": found.n_iter * len(preset.X) * k,
                "inertia above rest, %": 100 * (found.inertia / rest.inertia - 1),
            }
        )
    book.say(
        "Six stop rules on the standard preset (16 250 × 10, k = 25), all from one start. The fit "
        f"is at rest, with no center moving any more, after {rest.n_iter} iterations. Twice, "
        "almost nothing moves for more than ten iterations before a center moves to another blob: "
        "a rule that looks only at the last step cannot foresee this. The demo's 35 iterations end "
        "just before the second such move."
    )
    book.table("rules", rows, shown=True)
    _draw_rules(book, rows, rest)
    few = next(row for row in rows if row["rule"] == "labels")
    book.claim(
        POOLS,
        "few changes of assignment (one row in a hundred) are a sign to stop",
        f"the rule stops after {few['iterations']} of {rest.n_iter} iterations, with an inertia "
        f"{few['inertia above rest, %']:.0f} % above that at rest",
        few["inertia above rest, %"] < 1,
    )


def _draw_rules(book: Notebook, rows: list[Row], rest: KMeansResult) -> None:
    """Draw how the inertia falls, and where each rule ends it."""
    # After an iteration the centers are those that the next one assigns to.
    after = [100 * (it.inertia / rest.inertia - 1) for it in rest.history[1:]] + [0.0]
    ends: dict[int, list[str]] = {}
    for row in rows:
        ends.setdefault(row["iterations"], []).append(row["rule"])
    caption = "Where each of six stop rules stops on the standard preset"
    with book.figure("rules", caption, size=(7.2, 3.6)) as axis:
        axis.plot(range(1, len(after) + 1), after, color=INK)
        for color, (end, names) in zip(PALETTE, sorted(ends.items()), strict=False):
            axis.plot([end], [after[end - 1]], "o", ms=8, color=color)
            crowded = any(end < other < end + 4 for other in ends)
            listed = ",\n".join(names)
            axis.annotate(
                f"{listed}: {end}",
                (end, after[end - 1]),
                (0, -17) if crowded else (3, 9),
                textcoords="offset points",
                ha="center" if crowded else "left",
            )
        axis.set(xlabel="iteration", ylim=(-4, 30), xlim=(0, 48))
        axis.set_ylabel("inertia above rest, percent")
