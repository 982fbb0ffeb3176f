"""Who may ask: rebinding, forged origins, wrong tokens, used codes, large and slow callers."""

from __future__ import annotations

import http.server
import json
import os
import socket
import stat
import threading

import pytest

from spamd.client import Client
from spamd.errors import NotRunning
from spamd.web.access import Access, Limits
from tests.web.conftest import bearer, signed_in

EXTENSION = "moz-extension://01234567-89ab-cdef-0123-456789abcdef"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost",
        "[::1]:{port}",
        "",
        "127.0.0.1:{port}@evil.example",
    ],
)
def test_only_our_own_names_are_answered(world, host):
    """DNS rebinding: a foreign name that resolves to loopback. Before anything else, even with the token."""
    with bearer(world) as client:
        answer = client.get("/api/v1/status", headers={"Host": host.format(port=world.server.port)})
    assert answer.status_code == 403
    assert "verdict" not in answer.text


def test_two_hosts_are_refused(world):
    head = f"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{world.server.port}\r\nHost: evil.example\r\n"
    answer = raw(world, head + f"Authorization: Bearer {world.server.access.token}\r\n\r\n")
    assert answer.split(b" ", 2)[1] in (b"400", b"403")


def test_forwarded_names_change_nothing(world):
    with bearer(world) as client:
        answer = client.get(
            "/api/v1/status",
            headers={"Host": "evil.example", "X-Forwarded-Host": f"127.0.0.1:{world.server.port}"},
        )
    assert answer.status_code == 403


def test_localhost_is_ours_too(world):
    with bearer(world) as client:
        host = f"localhost:{world.server.port}"
        assert client.get("/api/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/review", "/api/v1/status", "/api/v1/openapi.json", "/settings", "/charts/mail.svg"]
)
def test_nothing_without_token_or_session(world, path):
    import httpx

    answer = httpx.get(world.server.url + path, trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "verify within" not in answer.text
    if path.startswith("/api/"):
        assert answer.json()["error"]["hint"], "a program is told in its own way"
    else:
        assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Basic {token}", "{token}", "Bearer {token}x", "Bearer \xe9"]
)
def test_a_wrong_token_is_no_token(fresh, header):
    import httpx

    world = fresh(accounts=False, mails=False)
    value = header.format(token=world.server.access.token).encode("latin-1")
    answer = httpx.get(
        world.server.url + "/api/v1/status", headers={b"Authorization": value}, trust_env=False
    )
    assert answer.status_code == 401


def test_the_token_is_not_taken_from_the_address(world):
    import httpx

    answer = httpx.get(f"{world.server.url}/api/v1/status?token={world.server.access.token}", trust_env=False)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "https://127.0.0.1:{port}",
        "http://localhost.evil.example",
        EXTENSION,
    ],
)
def test_a_page_from_elsewhere_changes_nothing(world, origin):
    """CSRF with the person's own cookie."""
    before = list(world.engine.calls)
    with signed_in(world) as client:
        headers = {"Origin": origin.format(port=world.server.port)}
        answer = client.post("/do/pause", headers=headers | FORM, content="long=hour")
        assert answer.status_code == 403
        answer = client.post("/api/v1/pause", headers=headers, json={})
        assert answer.status_code == 403
    assert world.engine.calls == before


def test_a_change_without_origin_needs_the_token(world):
    with signed_in(world) as client:
        assert client.post("/api/v1/wake", json={}).status_code == 403
        assert client.post("/do/pause", headers=FORM, content="long=hour").status_code == 403
    with bearer(world) as client:
        assert client.post("/api/v1/wake", json={}).status_code == 200


def test_our_own_page_may_change_things(fresh):
    world = fresh()
    with signed_in(world) as client:
        answer = client.post("/do/pause", headers=FORM | {"Origin": world.server.url}, content="long=hour")
    assert answer.status_code == 303
    assert world.engine.calls[0][0] == "pause"


def test_the_add_on_asks_with_the_token(world):
    with bearer(world, Origin=EXTENSION) as client:
        assert client.post("/api/v1/identify", json={"message_id": "<nobody@example.org>"}).status_code == 200
    for origin in (
        "moz-extension://evil",
        "chrome-extension://01234567-89ab-cdef-0123-456789abcdef",
        EXTENSION + ".evil",
    ):
        with bearer(world, Origin=origin) as client:
            assert client.get("/api/v1/status").status_code == 403


def test_another_port_cannot_embed_what_the_cookie_opens(world):
    """Cookies know no ports: a page on another local port is "same-site" and would send ours along."""
    with signed_in(world) as client:
        embedded = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        assert client.get("/charts/mail.svg", headers=embedded).status_code == 403
        followed = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/", headers=followed).status_code == 200


def test_a_code_opens_once(world):
    import httpx

    code = world.server.access.new_code()
    first = httpx.get(f"{world.server.url}/open?code={code}", trust_env=False)
    again = httpx.get(f"{world.server.url}/open?code={code}", trust_env=False)
    assert (first.status_code, again.status_code) == (200, 401)
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert code not in first.text


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "https://evil.example",
        '"><script>',
        "do/pause",
        "../open",
        "why/1/../../do/pause",
        "why/x",
    ],
)
def test_a_code_leads_to_our_pages_only(world, to):
    import httpx

    code = world.server.access.new_code()
    answer = httpx.get(f"{world.server.url}/open", params={"code": code, "to": to}, trust_env=False)
    assert answer.status_code == 200
    assert 'url=/"' in answer.text


@pytest.mark.parametrize("to", ["review", "/log", "why/12", "setup"])
def test_a_code_may_lead_to_a_page(world, to):
    import httpx

    code = world.server.access.new_code()
    answer = httpx.get(f"{world.server.url}/open", params={"code": code, "to": to}, trust_env=False)
    assert f'url=/{to.strip("/")}"' in answer.text


def test_codes_and_sessions_end():
    now = [1000.0]
    access = Access(Limits(code_seconds=60, session_seconds=600), clock=lambda: now[0])
    late, code = access.new_code(), access.new_code()
    session = access.redeem(code)
    assert session and access.session_ok(session) and not access.session_ok("x" + session)
    now[0] += 61
    assert access.redeem(late) is None
    now[0] += 600
    assert not access.session_ok(session)


def test_wrong_tries_are_forgotten_and_old_codes_given_up():
    now = [100.0]
    access = Access(Limits(bad_tries=2, bad_seconds=60.0), clock=lambda: now[0])
    access.bad_try()
    now[0] += 30.0
    access.bad_try()
    assert access.too_many()
    now[0] += 31.0
    assert not access.too_many()
    codes = [access.new_code() for _ in range(102)]
    assert access.redeem(codes[0]) is None, "no more than a hundred or so at a time"
    assert access.redeem(codes[-1])


def test_tokens_are_long_and_different():
    tokens = {Access(Limits()).token for _ in range(50)}
    assert len(tokens) == 50 and all(len(token) >= 43 for token in tokens)


def test_guessing_is_slowed_down_but_the_owner_is_not(fresh):
    import httpx

    world = fresh(accounts=False, mails=False, limits=Limits(bad_tries=5, bad_seconds=600))
    wrong = {"Authorization": "Bearer guess"}
    codes = [
        httpx.get(world.server.url + "/api/v1/status", headers=wrong, trust_env=False).status_code
        for _ in range(7)
    ]
    assert codes == [401] * 5 + [429] * 2
    assert httpx.get(f"{world.server.url}/open?code=guess", trust_env=False).status_code == 429
    with bearer(world) as client:
        assert client.get("/api/v1/status").status_code == 200


def test_every_answer_is_locked_down(world):
    with signed_in(world) as client:
        answers = [
            client.get(path)
            for path in ("/", "/api/v1/status", "/static/style.css", "/nothing", "/api/v1/nothing")
        ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert (
            policy.startswith("default-src 'none'")
            and "unsafe" not in policy
            and "frame-ancestors 'none'" in policy
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


def test_there_is_no_pre_flight(world):
    with bearer(world) as client:
        answer = client.options(
            "/api/v1/status",
            headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"},
        )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "CONNECT"])
def test_other_methods_are_not_used(world, method):
    with bearer(world) as client:
        assert client.request(method, "/api/v1/status").status_code in (400, 405)


def test_a_large_body_is_refused_before_it_is_read(world):
    head = (
        f"POST /api/v1/wake HTTP/1.1\r\nHost: 127.0.0.1:{world.server.port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {world.server.access.token}\r\nContent-Length: 500000000\r\n\r\n"
    )
    assert raw(world, head).split(b" ", 2)[1] == b"413"


def test_a_body_of_untold_length_is_counted(fresh):
    world = fresh(accounts=False, mails=False, limits=Limits(body=10_000))

    def endless():
        for _ in range(1000):
            yield b"x" * 1000

    with bearer(world, **{"Content-Type": "application/json"}) as client:
        assert client.post("/api/v1/wake", content=endless()).status_code == 413


def test_a_mail_may_be_larger_than_a_wish(world):
    import base64

    mail = b"Subject: long\r\n\r\n" + b"word " * 200_000
    with bearer(world) as client:
        answer = client.post("/api/v1/try", json={"raw": base64.b64encode(mail).decode()})
    assert answer.status_code == 200


def test_a_slow_body_is_given_up(fresh):
    world = fresh(accounts=False, mails=False, limits=Limits(body_seconds=0.3))
    head = (
        f"POST /api/v1/wake HTTP/1.1\r\nHost: 127.0.0.1:{world.server.port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {world.server.access.token}\r\nContent-Length: 20\r\n\r\n{{"
    )
    assert raw(world, head).split(b" ", 2)[1] == b"408"


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost: 127."])
def test_a_slow_header_is_given_up(fresh, sent):
    world = fresh(accounts=False, mails=False, limits=Limits(header_seconds=0.3))
    assert raw(world, sent) == b""  # closed, without an answer


def test_a_second_slow_header_is_given_up_too(fresh):
    world = fresh(accounts=False, mails=False, limits=Limits(header_seconds=0.3))
    whole = f"GET /static/icon.svg HTTP/1.1\r\nHost: 127.0.0.1:{world.server.port}\r\n\r\n"
    assert raw(world, whole + "GET / HT").startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=60) as sock:
        sock.sendall(whole.encode())
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        sock.sendall(b"GET / HT")
        while sock.recv(65536):
            pass


def test_the_run_file_is_for_the_owner_only_and_goes_with_the_server(fresh):
    world = fresh(accounts=False, mails=False)
    file = world.paths.run_file
    run = json.loads(file.read_text())
    assert set(run) == {"port", "token", "pid", "version", "started_at"}
    assert run["port"] == world.server.port and run["pid"] == os.getpid()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    world.server.stop()
    assert not file.exists()
    with pytest.raises(NotRunning):
        Client.connect(world.paths)


def test_a_run_file_that_was_removed_comes_back_while_the_server_serves(fresh):
    world = fresh(accounts=False, mails=False)
    server = world.server
    before = world.paths.run_file.read_bytes()
    world.paths.run_file.unlink()
    server.keep_run_file()
    assert json.loads(world.paths.run_file.read_bytes())["token"] == json.loads(before)["token"]
    world.paths.run_file.write_text("{}")  # another daemon's
    server.keep_run_file()
    assert world.paths.run_file.read_text() == "{}"
    world.paths.run_file.unlink()
    server.stop()
    server.keep_run_file()
    assert not world.paths.run_file.exists()


def test_another_daemons_run_file_is_left_alone(fresh):
    world = fresh(accounts=False, mails=False)
    world.paths.run_file.write_text("{}")
    world.server.stop()
    assert world.paths.run_file.read_text() == "{}"


def test_a_stale_or_broken_run_file_is_no_daemon(fresh):
    world = fresh(accounts=False, mails=False)
    good = world.paths.run_file.read_text()
    for text in ("", "[]", "{", '{"port": "x"}', good.replace(world.server.access.token, "other")):
        world.paths.run_file.write_text(text)
        with pytest.raises(NotRunning):
            Client.connect(world.paths)
    world.server.stop()
    world.paths.run_file.write_text(good)
    with pytest.raises(NotRunning):
        Client.connect(world.paths)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"<p>Nothing here</p>"), (200, b"<p>Hello</p>"), (200, b"{}"), (503, b"")]
)
def test_another_program_at_the_port_of_one_that_was_killed_is_no_daemon(fresh, status, body):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    world = fresh(accounts=False, mails=False)
    run = json.loads(world.paths.run_file.read_text())
    world.server.stop()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        world.paths.run_file.write_text(json.dumps({**run, "port": other.server_port}))
        try:
            with pytest.raises(NotRunning, match="not running"):
                Client.connect(world.paths)
        finally:
            other.shutdown()
            thread.join()


def test_only_loopback_listens(world):
    with socket.socket() as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", world.server.port))
    with socket.socket() as sock:
        sock.settimeout(30)
        with pytest.raises(OSError):
            sock.connect(("127.0.0.2", world.server.port))


def raw(world, text: str) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=60) as sock:
        sock.sendall(text.encode("latin-1"))
        while True:
            try:
                part = sock.recv(65536)
            except ConnectionResetError:
                return answer
            if not part:
                return answer
            answer += part
