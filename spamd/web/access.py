"""Who may ask: every request passes this gate before anything else looks at it.

In this order: the exact Host (against DNS rebinding), the method, the Origin (against other pages in the
person's browser), who asks (token or session), the size of the body and the patience with it. Any program of
the same user can read the run file and so is inside the line of trust; other users and web pages are not.

Sources: OWASP cheat sheets on CSRF and DNS rebinding; RFC 6265bis (SameSite); CSP 3; Fetch (Origin).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spamd.web.pairing import Pairing

CHANGES = frozenset({"POST", "DELETE"})
METHODS = frozenset({"GET", "HEAD"}) | CHANGES
MOZ_EXTENSION = re.compile(r"moz-extension://[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not "no-referrer": with it browsers send "Origin: null" for a form, and the Origin is what we check.
    # To any other origin both send the same: nothing.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes a caller may cost."""

    body: int = 262_144
    mail_body: int = 24_000_000  # a mail in base64
    pair_body: int = 2000
    body_seconds: float = 20.0
    header_seconds: float = 10.0
    code_seconds: float = 60.0
    session_seconds: float = 7 * 86400.0
    bad_tries: int = 10  # wrong tokens or codes, per `bad_seconds`
    bad_seconds: float = 60.0
    connections: int = 64
    streams: int = 32


BODIES = {
    "/pair": "pair_body",
    "/prove": "pair_body",
    "/api/v1/try": "mail_body",
    "/api/v1/teach": "mail_body",
    "/api/v1/labels/import": "mail_body",
    "/try": "mail_body",
    "/do/teach": "mail_body",
}


class Access:
    """The token, the one-time codes and the browser sessions of one running daemon. Thread-safe."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.token = secrets.token_urlsafe(32)  # 256 bits
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._codes: dict[str, float] = {}  # digest -> until
        self._sessions: dict[str, float] = {}
        self._bad: deque[float] = deque(maxlen=1000)
        self.pairing: Pairing | None = None  # since the port is known

    def new_code(self) -> str:
        """For one opening of the pages in a browser, within a minute."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            self._expire()
            self._codes[_digest(code)] = self._clock() + self.limits.code_seconds
        return code

    def redeem(self, code: str) -> str | None:
        """A new session for a code, once."""
        with self._lock:
            self._expire()
            if self._codes.pop(_digest(code), None) is None:
                return None
            session = secrets.token_urlsafe(32)
            self._sessions[_digest(session)] = self._clock() + self.limits.session_seconds
            return session

    def session_ok(self, session: str) -> bool:
        # By digest: how long the look-up takes tells nothing of the session's own characters.
        with self._lock:
            self._expire()
            return _digest(session) in self._sessions

    def token_ok(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def bad_try(self) -> None:
        with self._lock:
            self._bad.append(self._clock())

    def too_many(self) -> bool:
        """Too many wrong tokens and codes of late."""
        with self._lock:
            since = self._clock() - self.limits.bad_seconds
            while self._bad and self._bad[0] < since:
                self._bad.popleft()
            return len(self._bad) >= self.limits.bad_tries

    def _expire(self) -> None:
        now = self._clock()
        for kept in (self._codes, self._sessions):
            for key in [key for key, until in kept.items() if until < now]:
                del kept[key]
            while len(kept) > 100:  # oldest first
                del kept[next(iter(kept))]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Refused(Exception):
    """A request that goes no further."""

    def __init__(
        self, status: int, title: str, hint: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.hint = hint
        self.headers = headers


class Gate:
    """ASGI middleware around pages and API."""

    def __init__(self, app: ASGIApp, access: Access, port: int) -> None:
        self.app = app
        self.access = access
        self.hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        # Cookies know no ports: the name keeps two daemons (and any other local program) apart.
        self.cookie = f"spamd-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {name for name, _ in message.get("headers", [])}
                message = {
                    **message,
                    "headers": [*message.get("headers", []), *((n, v) for n, v in HEADERS if n not in own)],
                }
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._bounded(scope, receive), guarded_send)
        except Refused as refused:
            if not started:
                await refused_response(scope["path"], refused)(scope, receive, guarded_send)
        except Exception:
            # Starlette raises again what it has answered and logged; the server would log it whole, mail text and all.
            if not started:
                raise

    def _check(self, scope: Scope) -> None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        host = self._host(headers)
        method, path = scope["method"], scope["path"]
        if method not in METHODS:
            raise Refused(
                405, "This method is not used here.", headers=((b"allow", b"GET, HEAD, POST, DELETE"),)
            )
        token = self._bearer(headers)
        pairs = path in ("/pair", "/prove")
        self._origin(headers, host, extension=token is not None or pairs)
        if token is not None:
            if not self.access.token_ok(token):
                if self.access.too_many():
                    raise _slow_down(self.access.limits)
                self.access.bad_try()
                raise Refused(401, "The token is wrong.", "It changes with every start of the daemon.")
        elif path == "/open" or path.startswith("/static/"):
            if method not in ("GET", "HEAD"):
                raise Refused(405, "This method is not used here.")
            return
        elif pairs:  # who asks is what is found out there
            if method != "POST":
                raise Refused(405, "This method is not used here.")
        elif not any(self.access.session_ok(value) for value in _cookies(headers, self.cookie)):
            raise Refused(
                401, "This page was not opened by spamd.", "Open it with `spamdctl open`, or from the tray."
            )
        else:
            self._same_page(headers, method)
        length = headers.get("content-length", ["0"])[0]
        if length.isdigit() and int(length) > self._limit(path):
            raise Refused(413, "This is too large.", headers=((b"connection", b"close"),))

    def _host(self, headers: dict[str, list[str]]) -> str:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            raise Refused(403, "This name is not spamd's.", "Use the address as spamd gives it.")
        return hosts[0].lower()

    def _bearer(self, headers: dict[str, list[str]]) -> str | None:
        values = headers.get("authorization", [])
        if not values:
            return None
        scheme, _, token = values[0].partition(" ")
        if len(values) != 1 or scheme.lower() != "bearer":
            return ""
        return token.strip()

    def _origin(self, headers: dict[str, list[str]], host: str, *, extension: bool) -> None:
        """A foreign Origin is refused for every method, token or not: no CORS, no exception."""
        origins = headers.get("origin", [])
        for origin in origins:
            ours = origin.lower() == f"http://{host}"
            if len(origins) > 1 or not (ours or (extension and MOZ_EXTENSION.fullmatch(origin.lower()))):
                raise Refused(403, "Another page may not ask spamd.")

    def _same_page(self, headers: dict[str, list[str]], method: str) -> None:
        """A browser session: changes need our Origin; nothing is embedded by a page on another port."""
        if method in CHANGES and "origin" not in headers:
            raise Refused(403, "It is not known which page asks.", "Use a current browser.")
        site = headers.get("sec-fetch-site", ["none"])[0]
        opened = headers.get("sec-fetch-mode", [""])[0] == "navigate" and method in ("GET", "HEAD")
        if site not in ("none", "same-origin") and not opened:
            raise Refused(403, "Another page may not ask spamd.")

    def _limit(self, path: str) -> int:
        return int(getattr(self.access.limits, BODIES.get(path, "body")))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """The body, counted and with a time limit for all of it."""
        limit, seconds = self._limit(scope["path"]), self.access.limits.body_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        received, complete = 0, False

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:  # only "disconnected" can follow, and that may take as long as it likes
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    408, "The request took too long.", headers=((b"connection", b"close"),)
                ) from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if received > limit:
                    raise Refused(413, "This is too large.", headers=((b"connection", b"close"),))
            return message

        return bounded


def _slow_down(limits: Limits) -> Refused:
    seconds = str(max(1, round(limits.bad_seconds))).encode()
    return Refused(429, "Too many wrong tries.", "Wait a minute.", ((b"retry-after", seconds),))


def _cookies(headers: dict[str, list[str]], name: str) -> list[str]:
    found = []
    for line in headers.get("cookie", []):
        for part in line.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    return found[:5]


def refused_response(path: str, refused: Refused) -> Response:
    """JSON for the API, a plain page for people."""
    headers = {name.decode(): value.decode() for name, value in refused.headers}
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    if path.startswith("/api/"):
        return JSONResponse(
            {"error": {"title": refused.title, "hint": refused.hint}}, refused.status, headers
        )
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>spamd</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css"></head><body><main class="alone">'
        f"<h1>{html.escape(refused.title)}</h1><p>{html.escape(refused.hint)}</p></main></body></html>",
        refused.status,
        headers,
    )


def too_many_codes(access: Access) -> None:
    """Refused when codes were guessed too often."""
    if access.too_many():
        raise _slow_down(access.limits)
