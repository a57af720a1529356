"""Races on a real server: what happens in which order, and what happens when something breaks."""

import asyncio
import os
import signal
import socket
from base64 import b64decode
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from web import LONG, SMALL, named, read_events, serving, states

from kmeans_lab import kmeans, registry
from kmeans_lab.presets import PRESETS
from kmeans_lab.web.verdict import in_words, verdict

#: A kernel that is right, but for the last line of its assign.
PLANTED = """
import os, signal
import numpy as np
from kmeans_lab.registry import KernelSpec

SPEC = KernelSpec("", "planted", "none", requires=("numpy",))

def update(rows, labels, sums, counts):
    np.add.at(sums, labels, rows)
    np.add.at(counts, labels, 1)

def assign(rows, centers, labels):
    distances = ((rows[:, None] - centers) ** 2).sum(axis=2)
    labels[:] = distances.argmin(axis=1)
    inertia = float(distances.min(axis=1).sum())
"""


@pytest.fixture(scope="module")
def client():
    with serving(roofs={}) as it:
        yield it


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Return a function that makes a kernel known, by the source of its assign, for one test."""
    monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(registry, "_places", {})

    def plant(name, assign):
        path = tmp_path / f"{name}.py"
        path.write_text(
            f"{PLANTED}    {assign}\n",
            encoding="utf-8",
        )
        return registry.add_kernel(str(path))

    return plant


def decoded(text, dtype):
    return np.frombuffer(b64decode(text), dtype)


def test_lanes_are_measured_one_after_another_and_replayed(client):
    events = client.run("python", "cpp", {"kernel": "cpp-simd", "threads": 1})
    assert [number for _, number, _ in events] == list(range(1, len(events) + 1))
    assert [events[0][0], events[-1][0], events[-2][0]] == ["plan", "end", "verdict"]
    measured = ["waiting", "starting", "preparing", "running"]
    assert states(events, 0) == states(events, 1) == [*measured, "replaying", "done"]
    assert states(events, 2) == [*measured, "done"]
    begin = [
        number for name, number, data in events if name == "lane" and data["state"] == "starting"
    ]
    results = [number for name, number, _ in events if name == "result"]
    assert begin[0] < results[0] < begin[1] < results[1] < begin[2] < results[2]
    assert events[-1][2] == {"state": "done"}


def test_the_frames_are_the_iterations_of_the_fit(client):
    events = client.run("cpp")
    workload = PRESETS["smoke"].load()
    expected = kmeans(workload.X, 5, kernel="cpp", history=True, **workload.settings())
    frames = named(events, "frame")
    assert [it["n_iter"] for it in frames] == [it.n_iter for it in expected.history]
    assert [it["inertia"] for it in frames] == [it.inertia for it in expected.history]
    assert [it["changed"] for it in frames] == [it.changed for it in expected.history]
    (result,) = named(events, "result")
    assert (result["n_iter"], result["stop"]) == (expected.n_iter, expected.stop)
    assert result["inertia"] == expected.inertia
    assert set(result["phases"]) == {"prepare", "init", "assign", "update", "finish"}
    assert len(result["repeats"]) == 5
    assert result["seconds"] == sorted(result["repeats"])[2]
    assert not result["watched"]
    seconds = [it["seconds"] for it in frames]
    assert seconds == sorted(seconds)
    assert seconds[-1] <= result["seconds"]


def test_the_picture_is_of_the_rows_and_in_proportion(client):
    events = client.run("cpp", workload={"n_samples": 7000, "n_features": 2, "n_clusters": 4})
    plan, frame = named(events, "plan")[0], named(events, "frame")[-1]
    points = decoded(plan["points"], "<f4").reshape(-1, 2)
    assert len(points) == plan["drawn"] == 5000
    assert plan["plane"] == "first two coordinates"
    assert points.min() >= 0
    assert points.max() <= 1
    labels = decoded(frame["labels"], "u1")
    centers = decoded(frame["centers"], "<f4").reshape(-1, 2)
    assert labels.shape == (5000,)
    assert centers.shape == (4, 2)
    nearest = ((points[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    assert np.count_nonzero(nearest != labels) < 5  # one scale for both axes keeps distances


def test_more_than_256_clusters_have_wider_labels(client):
    events = client.run("cpp", workload={"n_samples": 600, "n_features": 3, "n_clusters": 300})
    frame = named(events, "frame")[-1]
    assert decoded(frame["labels"], "<u2").max() > 255
    assert named(events, "plan")[0]["plane"] == "first two principal components"


def test_a_race_at_once_starts_when_all_are_ready(client):
    events = client.run("python", "cpp", mode="race")
    for lane in (0, 1):
        expected = ["waiting", "starting", "preparing", "waiting", "running", "done"]
        assert states(events, lane) == expected
    lanes = [(data["state"], data["sentence"]) for it, _, data in events if it == "lane"]
    ready = [i for i, it in enumerate(lanes) if it == ("waiting", "ready; waits for the others")]
    running = [i for i, it in enumerate(lanes) if it[0] == "running"]
    assert len(ready) == len(running) == 2
    assert max(ready) < min(running)
    frames = named(events, "frame")
    last = {it["lane"]: it["n_iter"] for it in frames}
    assert last == {it["lane"]: it["n_iter"] for it in named(events, "result")}
    assert all(it["watched"] for it in named(events, "result"))


def test_more_threads_than_cores_are_said_to_distort(client):
    cores = client.get("/api/limits").json()["threads"]
    lanes = [{"kernel": "cpp-simd", "threads": cores}, {"kernel": "cpp"}]
    (plan,) = named(client.run(*lanes, mode="race"), "plan")
    assert plan["sharing"].startswith(f"{cores + 1} threads share {cores} core")
    (plan,) = named(client.run(*lanes, mode="measure"), "plan")
    assert plan["sharing"] is None


def test_all_kernels_agree_and_ratios_are_times(client):
    events = client.run("numpy", "cython", "cpp", "cpp-simd", baseline=2)
    (it,) = named(events, "verdict")
    seconds = {it["lane"]: it["seconds"] for it in named(events, "result")}
    assert it["times"] == [seconds[2] / seconds[lane] for lane in range(4)]
    assert (it["baseline"], it["agree"]) == (2, True)
    assert it["sentence"].endswith("; all labels agree")
    proofs = [it["certificate"] for it in named(events, "result")]
    assert all(it["valid"] for it in proofs)
    assert proofs[0]["sentence"] == (
        "2 iterations judged row by row, every row of the result held against direct distances"
    )
    assert all(0 < it["share"] < 10 for it in named(events, "result"))
    assert len({it["labels_hash"] for it in named(events, "result")}) == 1


def test_the_record_and_the_report_have_what_the_events_had(client):
    race = client.race("python", "cpp")
    events = list(client.events(race))
    record = client.get(f"/api/races/{race}").json()
    assert record["state"] == "done"
    assert record["verdict"] == named(events, "verdict")[0]
    for it in record["lanes"]:
        assert [step["n_iter"] for step in it["iterations"]] == [1, 2]
        assert it["result"]["n_iter"] == 2
    assert client.get("/api/races").json()[0]["id"] == race
    report = client.get(f"/api/races/{race}/report")
    assert f"race-{race}.html" in report.headers["content-disposition"]
    page = report.text
    assert client.get(f"/api/races/{race}/report").text == page
    assert record["verdict"]["sentence"] in page
    assert "<script" not in page
    assert "http" not in page.replace("https://json-schema.org", "")
    assert page.count('<tr class="valid">') == 2


def test_who_comes_late_or_again_gets_the_rest(client):
    race = client.race("python", "cpp")
    first = list(client.events(race))
    assert list(client.events(race)) == first
    assert list(client.events(race, after=10)) == first[10:]
    assert list(client.events(race, after=len(first))) == []
    answer = client.get(f"/api/races/{race}/events", headers={"Last-Event-ID": str(len(first))})
    assert answer.status_code == 204
    answer = client.get(f"/api/races/{race}/events", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 422


def test_stopping_a_race_kills_its_process(client):
    race = client.race("python", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")
    pid = client.desk.find(race).lanes[0].worker.process.pid
    assert client.delete(f"/api/races/{race}").json() == {"id": race, "state": "stopped"}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    events = list(client.events(race))
    assert states(events, 0)[-1] == "stopped"
    assert events[-1][2] == {"state": "stopped"}
    assert client.delete(f"/api/races/{race}").json()["state"] == "stopped"
    assert not client.get("/health").json()["racing"]


def test_a_race_can_be_stopped_before_its_rows_are_made(client):
    race = client.race("cpp", workload={"preset": "wide-128-1024"})
    assert client.delete(f"/api/races/{race}").json()["state"] == "stopped"
    events = list(client.events(race))
    assert [name for name, _, _ in events] == ["lane", "end"]


@pytest.mark.parametrize("mode", ["measure", "race"])
def test_stopping_a_lane_lets_the_others_go_on(client, mode):
    race = client.race("python", "cpp", workload=LONG, max_iter=120, mode=mode)
    client.wait_for(race, 0, "running")
    answer = client.delete(f"/api/races/{race}/lanes/0").json()
    assert answer == {"id": race, "lane": 0, "state": "stopped"}
    events = list(client.events(race))
    assert (states(events, 0)[-1], states(events, 1)[-1]) == ("stopped", "done")
    (it,) = named(events, "verdict")
    assert (it["times"], it["agree"]) == ([None, None], None)
    assert it["sentence"] == "python, the baseline, has no time: there are no ratios"
    assert events[-1][2] == {"state": "done"}


def test_a_lane_can_be_stopped_before_its_turn(client):
    race = client.race("python", "cpp", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")
    client.desk.find(race).stop(1)
    client.delete(f"/api/races/{race}/lanes/0")
    events = list(client.events(race))
    assert states(events, 1) == ["waiting", "stopped"]
    assert events[-1][2] == {"state": "stopped"}


def test_a_killed_worker_ends_its_lane_with_a_sentence(client):
    race = client.race("python", "cpp", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")
    os.kill(client.desk.find(race).lanes[0].worker.process.pid, signal.SIGKILL)
    sentence = "the process of python ended by signal 9; the other lanes go on"
    assert client.wait_for(race, 0, "failed") == sentence
    events = list(client.events(race))
    assert states(events, 1)[-1] == "done"
    assert events[-1][2] == {"state": "done"}


BAD = {
    "segfault": (
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "the process of segfault ended by signal 11",
    ),
    "exits": ("os._exit(3)", "the process of exits ended with exit status 3"),
    "raises": ("raise OSError('no')", "raises failed: OSError: no"),
    "wrong": ("labels[0] ^= 1; return inertia", "wrong is wrong: iteration 1: row 0 is not given"),
    "full": ("raise MemoryError", "full ran out of memory; use fewer rows"),
}


def test_a_bad_kernel_ends_its_lane_alone(planted):
    for name, (assign, _) in BAD.items():
        planted(name, assign)
    with serving() as client:
        first, second = list(BAD)[:3], list(BAD)[3:]
        for names, mode in ((first, "measure"), (second, "race")):
            events = client.run(*names, "cpp", mode=mode)
            said = [
                data["sentence"]
                for name, _, data in events
                if name == "lane" and data["state"] == "failed"
            ]
            for name in names:
                assert sum(it.startswith(BAD[name][1]) for it in said) == 1, (name, said)
            assert states(events, len(names))[-1] == "done"
            assert len(named(events, "result")) == 1


def test_a_kernel_that_kills_who_imports_it_is_broken_and_the_others_are_not(planted):
    name = planted("deadly", "return inertia")
    path = Path(registry.place_of(name))
    path.write_text("import os; os._exit(7)\n", encoding="utf-8")
    with serving() as client:
        rows = {it["name"]: it for it in client.get("/api/kernels").json()}
        assert rows["deadly"]["state"] == "broken"
        assert "ended with exit status 7" in rows["deadly"]["reason"]
        assert rows["cpp"]["state"] == "ready"
        body = {"workload": SMALL, "lanes": [{"kernel": "deadly"}]}
        answer = client.post("/api/races", json=body)
        assert answer.status_code == 422
        assert "deadly cannot run" in answer.json()["detail"]


def test_a_lane_that_takes_too_long_is_ended():
    with serving(seconds=1.5) as client:
        events = client.run("python", workload=LONG, max_iter=120)
    assert states(events, 0)[-1] == "failed"
    assert events[-1][2] == {"state": "failed"}


def test_only_so_many_races_are_kept():
    with serving(races=1) as client:
        races = []
        for _ in range(2):
            races.append(client.race("cpp"))
            list(client.events(races[-1]))
        assert [it["id"] for it in client.get("/api/races").json()] == races[1:]
        assert client.get(f"/api/races/{races[0]}").status_code == 404


def test_twenty_clients_get_answers_or_a_clear_refusal(client):
    async def ask(number):
        url = f"http://127.0.0.1:{client.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as it:
            body = {"workload": SMALL, "lanes": [{"kernel": "cpp"}], "start_seed": number}
            answer = await it.post("/api/races", json=body)
            health = await it.get("/health")
            assert health.status_code == 200
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["detail"] == "another race is on; wait for it or stop it"
                running = (await it.get("/api/races")).json()[0]["id"]
            else:
                assert answer.status_code == 202
                running = answer.json()["id"]
            async with it.stream("GET", f"/api/races/{running}/events") as stream:
                lines = [line async for line in stream.aiter_lines()]
            return answer.status_code, list(read_events(lines))

    async def all_of_them():
        return await asyncio.gather(*map(ask, range(20)))

    found = asyncio.run(all_of_them())
    assert sorted(status for status, _ in found) == [202] + [503] * 19
    assert all(events == found[0][1] for _, events in found)


def test_a_slow_reader_does_not_slow_the_race(client):
    race = client.race("cpp", workload={"n_samples": 20_000, "n_features": 3, "n_clusters": 300})
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", client.port))
    host = f"127.0.0.1:{client.port}"
    slow.sendall(f"GET /api/races/{race}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    events = list(client.events(race))  # ends, though the other has read nothing
    assert events[-1][2] == {"state": "done"}
    assert client.desk.find(race).log.n_bytes > 500_000  # far beyond what lies between
    with slow, slow.makefile("rb") as stream:
        text = b""
        while b"event: end" not in text:
            text += stream.read1(65_536)
    assert text.count(b"\nevent: frame") == len(named(events, "frame"))


def test_a_reader_that_vanishes_leaves_nothing_behind(client):
    race = client.race("python", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")  # leaves the stream in the middle
    log = client.desk.find(race).log
    client.delete(f"/api/races/{race}")
    list(client.events(race))
    assert not client.desk.racing
    assert log.ended
    for _ in range(200):  # the stream's end is noticed by the server in its own time
        if not log._waiting:
            break
        client.get("/health")
    assert not log._waiting


def test_only_so_many_pages_may_listen():
    with serving(streams=1) as client:
        race = client.race("python", workload=LONG, max_iter=120)
        stream = client.events(race)
        next(stream)
        answer = client.get(f"/api/races/{race}/events")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "1 pages listen already; close one"
        client.delete(f"/api/races/{race}")
        list(stream)


def test_the_end_of_the_server_ends_the_race_and_its_streams():
    found = []
    with serving() as client:
        race = client.race("python", workload=LONG, max_iter=120)
        client.wait_for(race, 0, "running")
        pid = client.desk.find(race).lanes[0].worker.process.pid
        reader = Thread(target=lambda: found.extend(client.events(race)))
        reader.start()
        while not found:
            pass
    reader.join()
    assert found[-1][0] == "end"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def lane(kernel, seconds, threads=1, valid=True):
    result = {"seconds": seconds, "certificate": {"valid": valid}}
    return SimpleNamespace(kernel=kernel, threads=threads, result=result)


def test_labels_that_differ_are_counted_and_named():
    lanes = [lane("python", 8.0), lane("cpp", 0.1)]
    found = verdict(lanes, 0, [np.array([0, 1, 2]), np.array([0, 2, 1])])
    assert found["agree"] is False
    assert found["sentence"] == (
        "cpp is 80 × faster than python; the labels of cpp differ from python's in 2 of 3 rows"
    )


def test_a_time_without_a_certificate_is_no_time():
    lanes = [lane("python", 8.0), lane("cpp", 0.1, valid=False)]
    assert verdict(lanes, 0, [None, None])["times"] == [1.0, None]
    assert verdict(lanes, 1, [None, None])["times"] == [None, None]


def test_lanes_of_one_kernel_are_told_apart_by_their_threads():
    lanes = [lane("cpp", 2.0), lane("cpp", 1.0, threads=2)]
    sentence = verdict(lanes, 0, [None, None])["sentence"]
    assert sentence == "cpp on 2 threads is 2 × faster than cpp on 1 thread"


@pytest.mark.parametrize(
    ("times", "words"),
    [(81.2, "81 × faster than"), (0.5, "2 × slower than"), (1.02, "about as fast as"),
     (2633.9, "2,634 × faster than"), (10.38, "10.4 × faster than")],
)  # fmt: skip
def test_ratios_are_times_and_not_percent(times, words):
    assert in_words(times) == words
