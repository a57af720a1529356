"""Clients that say nothing, read nothing or come by hundreds, and kernels that do not let go."""

import json
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from kmeans_lab.web.middleware import HEADERS
from tests.support.web import LONG, serving

pytestmark = pytest.mark.hostile

#: More than the sockets' own buffers and the transport's take.
HEAVY = {"n_samples": 40_000, "n_features": 3, "n_clusters": 300, "seed": 1}


@contextmanager
def connected(client, sent=b"", buffer=None):
    with socket.socket() as it:
        if buffer is not None:
            it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        it.settimeout(30)
        it.connect(("127.0.0.1", client.port))
        if sent:
            it.sendall(sent)
        yield it


def request(client, line, *more):
    head = [line, f"Host: 127.0.0.1:{client.port}", *more]
    return "\r\n".join([*head, "", ""]).encode()


def all_of(sock):
    """Return what is sent until the server closes; b"" too where it resets."""
    found = b""
    with sock.makefile("rb") as stream:
        try:
            while part := stream.read1(65_536):
                found += part
        except ConnectionResetError:
            pass
    return found


def answered(data):
    """Return status, headers and JSON of one answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, json.loads(body)


def test_who_does_not_ask_in_time_has_to_go():
    with serving(asking=0.3) as client, ExitStack() as open_ones:
        begin = time.monotonic()
        half_head = request(client, "GET /health HTTP/1.1")[:-2]
        half_body = request(client, "POST /api/races HTTP/1.1", "Content-Length: 100") + b"{"
        silent, slow, late = (
            open_ones.enter_context(connected(client, sent)) for sent in (b"", half_head, half_body)
        )
        assert all_of(silent) == b""
        for sock, what in ((slow, "the head of a request"), (late, "the body")):
            status, headers, body = answered(all_of(sock))
            assert status == 408
            assert body["detail"].startswith(f"{what} must be here within 0.3 s")
            assert headers["cache-control"] == "no-store"
        assert time.monotonic() - begin < 10


def test_what_comes_drop_by_drop_is_too_slow():
    with serving(asking=0.4) as client, connected(client) as it:
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < 10:
                it.sendall(b"GET /health?" if time.monotonic() - begin < 0.05 else b"x")
                time.sleep(0.02)
        except OSError:
            pass
        assert time.monotonic() - begin < 5


def test_a_second_request_has_to_come_in_time_too():
    with serving(asking=0.3) as client, connected(client) as it:
        whole = request(client, "GET /health HTTP/1.1")
        it.sendall(whole)
        assert it.recv(65_536).startswith(b"HTTP/1.1 200")
        it.sendall(whole[:-2])
        assert b"HTTP/1.1 408 Request Timeout" in all_of(it)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "GET /health HTTP/1.1\r\nX: ",
        "POST /api/races HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100\r\n\r\n{{",
    ],
)
def test_silent_connections_keep_nobody_out(said):
    with serving(connections=20, asking=60.0) as client, ExitStack() as open_ones:
        silent = [
            open_ones.enter_context(connected(client, said.format(port=client.port).encode()))
            for _ in range(40)
        ]
        for _ in range(3):
            assert client.get("/health").status_code == 200
        said = all_of(silent[0])
        assert said == b"" or said.startswith(b"HTTP/1.1 503")  # it may be closed before it spoke


def test_connections_that_rest_make_room_too():
    with serving(connections=5) as client, ExitStack() as open_ones:
        for _ in range(12):
            it = open_ones.enter_context(connected(client, request(client, "GET /health HTTP/1.1")))
            assert it.recv(12).endswith(b"200")


def test_who_reads_nothing_does_not_keep_a_place():
    with serving(streams=2, reading=0.5) as client, ExitStack() as open_ones:
        race = client.race("cpp", workload=HEAVY)
        ask = request(client, f"GET /api/races/{race}/events HTTP/1.1")
        for _ in range(2):
            open_ones.enter_context(connected(client, ask, buffer=4096))
        wait_until(lambda: client.get(f"/api/races/{race}/events").status_code == 200)


def wait_until(condition, patience=20.0):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_who_has_listened_long_makes_room_for_others():
    with serving(streams=1, listening=0.0) as client:
        race = client.race("python", workload=LONG, max_iter=120)
        first = client.events(race)
        next(first)
        second = client.events(race)
        assert next(second)[0] == "plan"
        client.delete(f"/api/races/{race}")
        assert list(second)[-1][0] == "end"


def test_a_place_is_taken_before_it_is_given():
    with serving(streams=5) as client, ExitStack() as open_ones:
        race = client.race("python", workload=LONG, max_iter=120)
        wait_until(lambda: client.scheduler.find(race).lanes[0].state == "running")
        ask = request(client, f"GET /api/races/{race}/events HTTP/1.1")
        socks = [open_ones.enter_context(connected(client)) for _ in range(40)]
        for it in socks:
            it.sendall(ask)
        statuses = [it.recv(12)[9:] for it in socks]
        assert (statuses.count(b"200"), statuses.count(b"503")) == (5, 35)
        open_ones.close()
        wait_until(lambda: open_one(client, ask) == b"200")  # all places are free again
        client.delete(f"/api/races/{race}")


def open_one(client, ask):
    with connected(client, ask) as it:
        return it.recv(12)[9:]


def test_what_is_no_http_is_refused_like_everything_else():
    with serving() as client, connected(client, b"\x16\x03\x01 hello\r\n\r\n") as it:
        status, headers, body = answered(all_of(it))
    assert status == 400
    assert body == {"detail": "the request is not HTTP/1.1; open the address in a browser"}
    assert {name: headers[name] for name in HEADERS} == {k: v.lower() for k, v in HEADERS.items()}


def test_nothing_but_files_may_be_kept_by_a_browser(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    with serving(tmp_path) as client:
        race = client.race("cpp")
        list(client.events(race))
        monkeypatch.setattr(client.scheduler, "survey", None)  # whatever may be broken one day
        for method, path, status in (
            ("GET", "/health", 200), ("GET", "/api/limits", 200), ("GET", "/api/races", 200),
            ("GET", f"/api/races/{race}/events", 200), ("GET", "/nowhere", 404),
            ("PUT", "/api/races", 405), ("POST", "/api/races", 422),
            ("DELETE", f"/api/races/{race}", 200), ("GET", f"/api/races/{race}", 500),
        ):  # fmt: skip
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
            if status >= 400:
                assert answer.json()["detail"]
        assert (
            client.get("/health", headers={"Host": "evil"}).headers["cache-control"] == "no-store"
        )
        assert client.get("/").headers["cache-control"] == "no-cache"
        assert client.get("/api/studies/x.png").headers["cache-control"] == "max-age=60"
