"""The page's modules by themselves, called in a real browser: numbers, colours, points, links."""

from base64 import b64encode

import numpy as np
import pytest

from kmeans_lab.formatting import digits, duration
from kmeans_lab.studies.notebook import PALETTE
from tests.support.browsers import (  # noqa: F401 (fixtures)
    browser,
    needs_a_browser,
    open_page,
    server,
)
from tests.support.numbers import DIGITS, DURATIONS

pytestmark = needs_a_browser


@pytest.fixture(scope="module")
def page(browser, server):  # noqa: F811
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()


def call(page, module, code, *given):
    """Run ``code`` with the module's exports as ``it``."""
    script = f"async given => {{ const it = await import('/static/{module}'); {code} }}"
    return page.evaluate(script, list(given))


def test_numbers_are_told_by_the_rule_of_the_package(page):
    values, words = [value for value, _ in DIGITS], [words for _, words in DIGITS]
    told = call(page, "words.js", "return given.map(value => it.digits(value))", *values)
    assert told == words == [digits(value) for value in values]


def test_times_are_told_by_the_rule_of_the_package(page):
    told = call(page, "words.js", "return given.map(it.time)", *(value for value, _ in DURATIONS))
    assert told == [words for _, words in DURATIONS]
    assert told == [duration(value) for value, _ in DURATIONS]
    assert call(page, "words.js", "return it.time(null)") == "–"


def test_ratios_are_told_as_times(page):
    told = call(page, "words.js", "return given.map(it.times)", 1, 9.996, 0.25, 2948.1)
    assert told == ["1.00 ×", "10.0 ×", "0.250 ×", "2,948 ×"]


def test_up_to_ten_clusters_have_the_colours_of_the_studies(page):
    found = call(page, "colours.js", "return it.palette(10, false)")
    assert ["#" + "".join(f"{value:02x}" for value in rgb) for rgb in found] == list(PALETTE)


@pytest.mark.parametrize("dark", [False, True])
def test_more_clusters_have_colours_that_differ_and_are_seen(page, dark):
    found = call(page, "colours.js", "return it.palette(64, given[0])", dark)
    assert len({tuple(rgb) for rgb in found}) == 64
    paper = luminance((20, 23, 27) if dark else (255, 255, 255))
    contrasts = [contrast(luminance(rgb), paper) for rgb in found]
    assert min(contrasts) >= 2.4


def luminance(rgb):
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_points_are_drawn_where_they_are_in_the_colour_of_their_cluster(page):
    code = """
    const canvas = document.createElement("canvas");
    canvas.style.width = canvas.style.height = "200px";
    document.body.append(canvas);
    const scatter = new it.Scatter(canvas, new Float32Array([0, 0, 1, 0, 1, 1]), 3);
    scatter.draw(new Uint8Array([0, 1, 2]), null, []);
    const side = canvas.width, near = Math.round(0.05 * side), far = side - near;
    const seen = [[near, far], [far, far], [far, near], [near, near]].map(([x, y]) =>
      [...canvas.getContext("2d").getImageData(x, y, 1, 1).data]);
    scatter.close();
    canvas.remove();
    return seen;
    """
    ten = [[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in PALETTE]
    *drawn, empty = call(page, "scatter.js", code)
    assert drawn == [[*ten[0], 255], [*ten[1], 255], [*ten[2], 255]]  # y goes up
    assert empty[3] == 0


def test_arrays_arrive_as_the_server_sent_them(page):
    places = np.array([0.0, 0.5, 1.0, 0.1], "<f4")
    few, many = np.array([3, 0, 255], "u1"), np.array([3, 0, 900], "<u2")
    code = """
    const [places, few, many] = given;
    return [it.floats(places), it.labels(few, 256), it.labels(many, 901)].map(list => [...list]);
    """
    sent = [b64encode(it.tobytes()).decode() for it in (places, few, many)]
    assert call(page, "api.js", code, *sent) == [it.tolist() for it in (places, few, many)]


def test_choices_survive_the_address(page):
    code = """
    const choice = {...it.DEFAULTS, mode: "race", lanes: [["cpp", 2], ["my-own", 1]], baseline: 1,
      preset: "", n: 50, d: 3, k: 4, spread: 0.5, seed: 0, start: "first", max_iter: "9"};
    return [choice, it.read(it.write(choice)), it.order(choice)];
    """
    choice, back, order = call(page, "choices.js", code)
    assert back == choice
    assert order == {
        "mode": "race", "start": "first", "start_seed": 7, "max_iter": 9, "baseline": 1,
        "workload": {"n_samples": 50, "n_features": 3, "n_clusters": 4, "spread": 0.5, "seed": 0},
        "lanes": [{"kernel": "cpp", "threads": 2}, {"kernel": "my-own", "threads": 1}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pace", "position", "shown"),
    [
        # moments of the frames, stretched to the measured 2 s: 0.5, 1, 2 and (lane 1) 0.05, 0.1
        ("real", 0.0, [(-1, 0.0), (-1, 0.0)]),
        ("real", 0.25, [(-1, 0.5), (1, 0.0)]),
        ("real", 1.5, [(1, 0.5), (1, 0.0)]),
        ("six", 2.0, [(2, 0.0), (1, 0.0)]),
        ("steps", 1.0, [(0, 0.0), (0, 0.0)]),
        ("steps", 1.25, [(0, 0.25), (0, 0.25)]),
        ("steps", 3.0, [(2, 0.0), (1, 0.0)]),
    ],
)
def test_a_replay_shows_each_lane_at_its_measured_time(page, pace, position, shown):
    code = """
    const { Race } = await import("/static/race.js");
    const race = new Race("x");
    const frames = seconds => seconds.map((at, i) => ({ n_iter: i + 1, seconds: at }));
    race.lanes = [
      { index: 0, frames: frames([1, 2, 4]), result: { seconds: 2 } },
      { index: 1, frames: frames([0.05, 0.1]), result: { seconds: 0.1 } },
    ];
    const player = new it.Player(race, () => {});
    player.pace = given[0];
    player.seek(given[1]);
    return race.lanes.map(lane => { const { at, part } = player.view(lane); return [at, part]; });
    """
    found = call(page, "player.js", code, pace, position)
    assert [(at, pytest.approx(part)) for at, part in shown] == [tuple(it) for it in found]
