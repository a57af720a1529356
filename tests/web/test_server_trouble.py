"""Races in which something goes wrong: stopped, killed, crashed, too slow, too many at once."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from threading import Thread

import httpx
import pytest

from kmeans_lab import registry
from kmeans_lab.web.request_limits import Limits
from tests.support.planted import BY_NUMPY
from tests.support.web import LONG, SMALL, named, read_events, serving, states

#: A kernel that is right, but for the last line of its assign.
PLANTED = (
    BY_NUMPY + "\nimport os, signal\n"
    "def assign(rows, centers, labels):\n    inertia = good_assign(rows, centers, labels)\n"
)


@pytest.fixture(scope="module")
def client():
    with serving() as it:
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


def test_stopping_a_race_kills_its_process(client):
    race = client.race("python", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")
    pid = client.scheduler.find(race).lanes[0].worker.process.pid
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
    assert it["sentence"] == "python has no time, so that nothing can be compared with it"
    assert events[-1][2] == {"state": "done"}


def test_a_lane_can_be_stopped_before_its_turn(client):
    race = client.race("python", "cpp", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "starting")
    client.scheduler.find(race).stop(1)
    client.delete(f"/api/races/{race}/lanes/0")
    events = list(client.events(race))
    assert states(events, 1) == ["waiting", "stopped"]
    assert events[-1][2] == {"state": "stopped"}


def test_a_killed_worker_ends_its_lane_with_a_sentence(client):
    race = client.race("python", "cpp", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")
    os.kill(client.scheduler.find(race).lanes[0].worker.process.pid, signal.SIGKILL)
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
    rows = {"n_samples": 40_000, "n_features": 3, "n_clusters": 300, "seed": 1}
    race = client.race("cpp", workload=rows)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", client.port))
        host = f"127.0.0.1:{client.port}"
        slow.sendall(f"GET /api/races/{race}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        events = list(client.events(race))  # ends, though the other has read nothing
        assert events[-1][2] == {"state": "done"}
        assert client.scheduler.find(race).log.n_bytes > 500_000  # far beyond what lies between
        with slow.makefile("rb") as stream:
            text = b""
            while b"event: end" not in text:
                text += stream.read1(65_536)
    assert text.count(b"\nevent: frame") == len(named(events, "frame"))


def test_a_reader_that_vanishes_leaves_nothing_behind(client):
    race = client.race("python", workload=LONG, max_iter=120)
    client.wait_for(race, 0, "running")  # leaves the stream in the middle
    log = client.scheduler.find(race).log
    client.delete(f"/api/races/{race}")
    list(client.events(race))
    assert not client.scheduler.racing
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
        pid = client.scheduler.find(race).lanes[0].worker.process.pid
        reader = Thread(target=lambda: found.extend(client.events(race)))
        reader.start()
        while not found:
            pass
    reader.join()
    assert found[-1][0] == "end"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_memory_that_is_not_there_is_not_promised(monkeypatch):
    monkeypatch.setattr("kmeans_lab.web.request_limits._memory_available", lambda: 1_000_000_000)
    (complaint,) = Limits().of_the_memory(20_000_000, at_once=4)
    assert "needs about 2.53 GiB and this machine has 954 MiB left" in complaint[1]
    assert not list(Limits().of_the_memory(1_000_000, at_once=4))
