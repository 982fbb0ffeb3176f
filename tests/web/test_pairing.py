"""The lasting key of the add-on: proved, never told; a port that stays."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from spamd import thunderbird_host
from spamd.web.pairing import Pairing, is_own, read
from spamd.web.server import WebServer

EXTENSION = {"Origin": "moz-extension://01234567-89ab-cdef-0123-456789abcdef"}


@pytest.fixture
def paired(fresh):
    """A world whose key was pasted; the key."""
    world = fresh(accounts=False, mails=False)
    world.server.stop()
    world.server = WebServer(world.control, world.paths)
    world.server.start()
    port, _, key = thunderbird_host.pasteable(world.paths).partition(":")
    assert int(port) == world.server.port
    return world, key


def ask(world, body: dict[str, object], headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(
        f"{world.server.url}/pair", json=body, headers=EXTENSION | (headers or {}), trust_env=False
    )


def prove(key: str, side: str, port: int, nonce: str, answer: str) -> str:
    return hmac.new(key.encode(), f"{side} {port} {nonce} {answer}".encode(), hashlib.sha256).hexdigest()


def talk(world, key: str) -> httpx.Response:
    nonce, port = secrets.token_urlsafe(24), world.server.port
    begun = ask(world, {"nonce": nonce}).json()
    assert begun["proof"] == prove(key, "daemon", port, nonce, begun["nonce"])
    proof = prove(key, "addon", port, nonce, begun["nonce"])
    done = ask(world, {"nonce": nonce, "answer": begun["nonce"], "proof": proof})
    again = ask(world, {"nonce": nonce, "answer": begun["nonce"], "proof": proof})
    assert again.status_code == 401, "a talk counts once"
    return done


def test_who_holds_the_key_gets_the_token_of_this_run(paired):
    world, key = paired
    token = talk(world, key).json()["token"]
    assert token == world.server.access.token != key
    status = httpx.get(
        f"{world.server.url}/api/v1/status", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    assert status.status_code == 200
    told = httpx.get(
        f"{world.server.url}/api/v1/status", headers={"Authorization": f"Bearer {key}"}, trust_env=False
    )
    assert told.status_code == 401, "the key itself opens nothing"


def test_the_port_stays_over_a_restart_and_the_key_with_it(paired):
    world, key = paired
    port = world.server.port
    for _ in range(2):
        # A connection that the daemon ends first fades away on its side, for a minute.
        with socket.create_connection(("127.0.0.1", port)) as held:
            held.sendall(b"GET /pair HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.recv(10)
            world.server.stop()
            while held.recv(1000):  # what is left unread would end it at once
                pass
        world.server = WebServer(world.control, world.paths)
        world.server.start()
        assert world.server.port == port
    assert talk(world, key).status_code == 200


def test_a_taken_port_is_no_reason_not_to_start(paired):
    world, _key = paired
    port = world.server.port
    world.server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        world.server = WebServer(world.control, world.paths)
        world.server.start()
    assert world.server.port != port
    assert ask(world, {"nonce": "n" * 24}).status_code == 404, "the key was for the other port"


def test_who_does_not_hold_it_gets_nothing(paired):
    world, key = paired
    port, nonce = world.server.port, "n" * 24
    begun = ask(world, {"nonce": nonce}).json()
    for proof in (
        "",
        "x",
        begun["proof"],
        prove("another key", "addon", port, nonce, begun["nonce"]),
        prove(key, "addon", port + 1, nonce, begun["nonce"]),  # passed on from another port
    ):
        answer = ask(world, {"nonce": nonce, "answer": begun["nonce"], "proof": proof or "-"})
        assert answer.status_code == 401 and world.server.access.token not in answer.text
    for body in ({}, {"nonce": "short"}, {"nonce": 5}, [], "x"):
        assert ask(world, body).status_code in (400, 404)
    assert ask(world, {"nonce": nonce}, {"Origin": "https://evil.example"}).status_code == 403
    assert ask(world, {"nonce": nonce}, {"Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{world.server.url}/pair", trust_env=False).status_code == 405
    assert ask(world, {"nonce": "n" * 5000}).status_code == 413
    for _ in range(12):
        last = ask(world, {"nonce": nonce, "answer": "a", "proof": "p"})
    assert last.status_code == 429


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells whose a connection is")
def test_whose_a_connection_is(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            held, peer = server.accept()
            with held:
                assert is_own(peer, port)
                assert not is_own(("127.0.0.2", peer[1]), port), "another address is another connection"
                assert is_own(peer, port, [tmp_path / "none"]), (
                    "where the system does not tell, the key decides"
                )
                assert not is_own(peer, port, [Path("/dev/null")]), "not listed"


ASKING = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
    body = sys.argv[3].encode()
    one.sendall(b"%s HTTP/1.1\\r\\nHost: 127.0.0.1:%s\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s"
                % (sys.argv[2].encode(), sys.argv[1].encode(), len(body), body))
    while got := one.recv(4096):
        sys.stdout.write(got.decode())
"""


def asked_by(user: int, port: int, line: str, body: str = "") -> str:
    """What a program of this user is answered."""
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-I", "-c", ASKING, str(port), line, body],
        user=user,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


NOT_ROOT = 65534
needs_root = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.getuid() != 0,
    reason="only root may become another user, and only Linux tells whose a connection is",
)


@needs_root
def test_another_user_cannot_pass_a_talk_on(paired):
    world, _key = paired
    body = '{"nonce": "nnnnnnnnnnnnnnnnnnnnnnnn"}'
    told = {user: asked_by(user, world.server.port, "POST /pair", body) for user in (NOT_ROOT, 0)}
    assert " 200 " in told[0].splitlines()[0], told
    assert " 403 " in told[NOT_ROOT].splitlines()[0], told


@needs_root
def test_another_user_cannot_open_the_pages_by_a_link_from_the_list_of_processes(fresh):
    """Nor does it spoil the link."""
    server = fresh(accounts=False, mails=False).server
    link = f"GET /open?code={server.access.new_code()}"
    told = [asked_by(user, server.port, link) for user in (NOT_ROOT, 0)]
    assert " 403 " in told[0].splitlines()[0] and "set-cookie" not in told[0].lower()
    assert " 200 " in told[1].splitlines()[0] and "set-cookie" in told[1].lower()


def test_the_daemon_proves_that_it_is_the_one_whose_token_it_is(fresh):
    world = fresh(accounts=False, mails=False)
    nonce, port, token = "n" * 24, world.server.port, world.server.access.token
    asked = httpx.post(f"{world.server.url}/prove", json={"nonce": nonce}, headers=EXTENSION, trust_env=False)
    wanted = hmac.new(token.encode(), f"run {port} {nonce}".encode(), hashlib.sha256).hexdigest()
    assert asked.json() == {"proof": wanted}
    for body, headers, status in (
        ({"nonce": "short"}, EXTENSION, 400),
        ({"nonce": "n" * 5000}, EXTENSION, 413),
        ({"nonce": nonce}, {"Origin": "https://evil.example"}, 403),
        ({"nonce": nonce}, {"Host": "evil.example"}, 403),
    ):
        refused = httpx.post(f"{world.server.url}/prove", json=body, headers=headers, trust_env=False)
        assert refused.status_code == status
    assert httpx.get(f"{world.server.url}/prove", trust_env=False).status_code == 405


def test_nothing_is_paired_at_first(fresh):
    world = fresh(accounts=False, mails=False)
    assert ask(world, {"nonce": "n" * 24}).status_code == 404


def test_talks_that_are_not_ended_are_forgotten(tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"port": 5, "key": "k" * 40}))
    now = [0.0]
    pairing = Pairing(file, 5, clock=lambda: now[0])
    begun = pairing.begin("n" * 20)
    assert begun
    proof = prove("k" * 40, "addon", 5, "n" * 20, begun[0])
    now[0] = 61.0
    assert not pairing.proves("n" * 20, begun[0], proof)
    begun = pairing.begin("n" * 20)
    assert begun
    for _ in range(100):
        pairing.begin("m" * 20)
    assert not pairing.proves("n" * 20, begun[0], prove("k" * 40, "addon", 5, "n" * 20, begun[0]))
    for damaged in ("", "[]", '{"port": true, "key": "' + "k" * 40 + '"}', "[" * 9000):
        file.write_text(damaged)
        assert read(file) is None and pairing.begin("n" * 20) is None
