"""Every route of the server, and everything that it refuses."""

import re
import socket

import httpx
import pytest

import kmeans_lab
from kmeans_lab import KERNELS
from kmeans_lab.cli.serve import listen
from kmeans_lab.presets import PRESETS
from kmeans_lab.web.middleware import CSP, HEADERS, Names
from tests.support.web import SMALL, serving

RACE = {"workload": SMALL, "lanes": [{"kernel": "cpp"}]}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    (folder / "hybrid-seconds.png").write_bytes(b"\x89PNG not really")
    (folder / "hybrid.md").write_text(
        "# hybrid\n\nHow?\n\n| who | claim | found | verdict |\n| --- | --- | --- | --- |\n"
        "| the demo | a \\| b | 3 times | **in part** |\n\n"
        "![Seconds by kernel](hybrid-seconds.png)\n\n![gone](hybrid-gone.png)\n",
        encoding="utf-8",
    )
    with serving(folder) as it:
        yield it


def refusal(client, **changes):
    answer = client.post("/api/races", json=RACE | changes)
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["detail"] == "; ".join(it["sentence"] for it in body["errors"])
    return {it["field"]: it["sentence"] for it in body["errors"]}


def test_health_says_the_version_and_whether_a_race_is_on(client):
    assert client.get("/health").json() == {
        "ok": True,
        "version": kmeans_lab.__version__,
        "racing": False,
    }


def test_what_is_sent_does_not_wait_for_more():
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio asks before it sets TCP_NODELAY


def test_the_kernels_are_those_of_the_registry_with_their_sources(client):
    rows = {it["name"]: it for it in client.get("/api/kernels").json()}
    assert list(rows) == list(KERNELS)
    assert rows["cpp"]["state"] == "ready"
    assert rows["cpp"]["build"].startswith(("gcc", "clang"))
    assert rows["python"]["lines"] > 20
    found = client.get("/api/kernels/cpp/source").json()
    assert [it["name"] for it in found["files"]] == ["cpp/kmeans.cpp"]
    assert "assign" in found["files"][0]["text"]


def test_presets_and_limits_agree(client):
    limits = client.get("/api/limits").json()
    assert limits["lanes"] == 4
    assert limits["threads"] >= 1
    presets = {it["name"]: it for it in client.get("/api/presets").json()}
    assert {"standard", "smoke", "grid-1000000-40"} <= set(presets) <= set(PRESETS)
    for it in presets.values():
        assert it["n_samples"] * it["n_features"] <= limits["values"]
        assert it["max_iter"] <= limits["iterations"]


def test_presets_beyond_the_limits_are_not_offered():
    with serving(rows=1000) as client:
        names = {it["name"] for it in client.get("/api/presets").json()}
    assert "smoke" in names
    assert "standard" not in names


def test_the_studies_come_from_their_pages(client):
    (study,) = client.get("/api/studies").json()
    assert study["name"] == "hybrid"
    assert study["figures"] == [{"file": "hybrid-seconds.png", "caption": "Seconds by kernel"}]
    assert study["claims"] == [
        {"source": "the demo", "words": "a | b", "found": "3 times", "verdict": "in part"}
    ]
    picture = client.get("/api/studies/hybrid-seconds.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["gone.png", "hybrid.md", "..%2Fhybrid.png", "%2e%2e%2fx.png"])
def test_nothing_but_figures_is_served_from_the_folder(client, name):
    assert client.get(f"/api/studies/{name}").status_code == 404


def test_without_a_folder_there_are_no_studies():
    with serving() as client:
        assert client.get("/api/studies").json() == []


def test_the_page_is_served_packed_and_not_twice(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-encoding"] == "gzip"
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in re.findall(r'(?:src|href)="/?(static/[\w.-]+)"', page.text):
        part = client.get(f"/{name}")
        assert part.status_code == 200, name
        assert "nosniff" in part.headers["x-content-type-options"]
    assert client.head("/").content == b""


@pytest.mark.parametrize("name", ["app.py", "..%2fapp.py", "%2e%2e/app.py", "x" * 300])
def test_no_other_file_is_served(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is nothing at")


@pytest.mark.parametrize("path", ["/health", "/api/limits", "/nowhere", "/api/races/none"])
def test_every_answer_has_the_headers_and_lets_no_other_origin_read(client, path):
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in CSP
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost", "localhost:1", "127.0.0.1.nip.io:{port}", "a@127.0.0.1:{port}",
     "127.0.0.1:{port}x", "", "[::1", "localhost:{port}/x"],
)  # fmt: skip
def test_a_host_that_is_not_ours_is_refused(client, host):
    answer = client.get("/health", headers={"Host": host.format(port=client.port)})
    assert answer.status_code in (400, 421)
    if answer.status_code == 421:
        assert "--allow-host" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_loopback_names_are_ours(client, host):
    answer = client.get("/health", headers={"Host": host.format(port=client.port)})
    assert answer.status_code == 200


def test_allowed_names_are_ours_with_any_port_or_with_theirs():
    names = Names("0.0.0.0", 8000, ("lab.example", "other.example:81"))
    assert names.know("lab.example")
    assert names.know("lab.example:9000")
    assert names.know("other.example:81")
    assert not names.know("other.example")
    assert not names.know("localhost:9000")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_origin_is_refused(client, origin, method):
    answer = client.request(method, "/api/races", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]


def test_the_page_itself_may_ask(client):
    own = {"Origin": f"http://127.0.0.1:{client.port}", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/races", headers=own).status_code == 200


def test_another_site_cannot_make_it_measure_but_can_link_to_the_page(client):
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/api/ladder", headers=foreign).status_code == 403
    assert client.get("/", headers=foreign).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(client, chunked):
    text = b'{"x": "' + b"x" * 20_000 + b'"}'
    body = iter([text]) if chunked else text
    answer = client.post("/api/races", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body must be at most 16,384 bytes; send less"


def test_what_is_not_json_is_refused_in_a_sentence(client):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/races", content=b"{", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "the body is not JSON; send JSON"
    assert client.post("/api/races", data={"x": 1}).status_code == 422


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"mode": "walk"}, "mode", "mode='walk' is not known; choose one of 'measure' or 'race'"),
        ({"lanes": []}, "lanes", "lanes must have 1 to 4 entries; add or remove some"),
        ({"lanes": 3}, "lanes", "lanes must be a list in [ ]"),
        ({"lanes": [{"kernel": "cpp"}] * 5}, "lanes",
         "there are 5 lanes and may be at most 4; remove some"),
        ({"lanes": [{"kernel": "cpp", "threads": "2"}]}, "lanes.0.threads",
         "lanes.0.threads='2' must be an integer, written without quotes"),
        ({"lanes": [{"kernel": "cpp", "threads": 0}]}, "lanes.0.threads",
         "lanes.0.threads=0 must be at least 1"),
        ({"lanes": [{"kernel": "cpp", "threads": 1000}]}, "lanes.0.threads", "the cores of this"),
        ({"lanes": [{"kernel": "cpp"}, {"kernel": "/tmp/x.py"}]}, "lanes.1.kernel",
         "kernel='/tmp/x.py' is not known; choose one of python, "),
        ({"lanes": [{}]}, "lanes.0.kernel", "lanes.0.kernel is missing and must be given; add it"),
        ({"baseline": 1}, "baseline", "baseline=1 must be one of the lanes, 0 … 0"),
        ({"max_iter": 301}, "max_iter", "max_iter=301 must be at most 300; use fewer"),
        ({"max_iter": True}, "max_iter", "must be an integer"),
        ({"start": "best"}, "start", "start='best' is not known; choose one of 'k-means++'"),
        ({"extra": 1}, "extra", "extra is not known; leave it out"),
        ({"workload": {"preset": "smoke-text"}}, "workload.preset", "is not known; the presets"),
        ({"workload": {"preset": "../etc"}}, "workload.preset", "is not known; the presets are"),
        ({"workload": 3}, "workload", "workload must be an object in { }"),
        ({"workload": {"n_samples": 3, "n_clusters": 4}}, "workload.n_clusters",
         "n_clusters=4 must be at most n_samples=3; ask for fewer clusters"),
        ({"workload": {"n_samples": 2_000_000}}, "workload.n_samples", "at most 1,000,000"),
        ({"workload": {"n_samples": 1_000_000, "n_features": 100}}, "workload",
         "1,000,000 × 100 are 100,000,000 values and must be at most 20,000,000"),
        ({"workload": {"spread": 0}}, "workload.spread", "must be at least 0.001"),
        ({"workload": {"spread": "wide"}}, "workload.spread", "must be a finite number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_field_by_field(client, changes, field, sentence):
    assert sentence in refusal(client, **changes)[field]


def test_everything_wrong_is_said_at_once(client):
    lanes = [{"kernel": "no"}, {"kernel": "cpp", "threads": 1000}]
    found = refusal(client, lanes=lanes, baseline=9, max_iter=999)
    assert set(found) == {"lanes.0.kernel", "lanes.1.threads", "baseline", "max_iter"}


def test_slow_kernels_may_do_less(client):
    big = {"workload": {"n_samples": 200_000, "n_clusters": 100}, "max_iter": 10}
    (python,) = refusal(client, **big, lanes=[{"kernel": "python"}]).values()
    assert "with python, which needs hundreds of times as long" in python
    (broadcast,) = refusal(client, **big, lanes=[{"kernel": "numpy-broadcast"}]).values()
    assert "holds rows × clusters × features = 200,000,000 values at once" in broadcast


def test_threads_that_would_have_no_effect_are_refused(client):
    found = refusal(client, lanes=[{"kernel": "python", "threads": 2}])
    assert "holds Python's lock" in found["lanes.0.threads"]


@pytest.mark.parametrize(
    "path",
    ["/api/races/none", "/api/races/none/report", "/api/races/none/events",
     "/api/kernels/none/source", "/api/kernels/none/explain"],
)  # fmt: skip
def test_what_is_not_there_is_said_in_a_sentence(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no ")


def test_a_race_that_is_not_there_cannot_be_stopped(client):
    assert client.delete("/api/races/none").status_code == 404
    assert client.delete("/api/races/none/lanes/0").status_code == 404
    assert client.delete("/api/races/none/lanes/x").status_code == 422


def test_other_methods_are_refused_with_those_that_work(client):
    answer = client.put("/api/races", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"]
    assert answer.json()["detail"].startswith("PUT is not possible here")


def test_there_are_no_pages_that_fetch_from_elsewhere(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "kmeans_lab"


@pytest.mark.slow
def test_explain_and_the_ladder_are_measured_once_and_alone(client):
    first = client.get("/api/kernels/cpp/explain")
    assert first.status_code == 200, first.text
    assert first.json()["kernel"] == "cpp"
    assert first.json()["verdict"]
    assert client.get("/api/kernels/cpp/explain").json() == first.json()
    with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as other:
        race = client.race("cpp")
        busy = other.get("/api/ladder")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert busy.json()["detail"] == "another race is on; wait for it or stop it"
        list(client.events(race))
    rungs = client.get("/api/ladder").json()["rungs"]
    assert rungs[0]["times"] == 1
    assert rungs[-1]["times"] > 100
