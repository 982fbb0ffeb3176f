"""A provider's sign-in server on this computer: pages, tokens, device codes, and the introspection Dovecot asks for.

It is strict where real ones are: PKCE is checked, codes work once, refresh tokens rotate if told to.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Grant:
    """What one person allowed."""

    user: str
    refresh_token: str
    revoked: bool = False
    access: dict[str, float] = field(default_factory=dict)  # token -> ends at


class AuthorisationServer:
    """Everybody who comes to the page agrees, as `user`."""

    client_id = "spamd-test"

    def __init__(self) -> None:
        self.user = "u1"
        self.grants: list[Grant] = []
        self.seconds = 3600.0  # an access token lives
        self.rotate = False
        self.refuse = ""  # error of the authorisation page
        self.busy = 0  # so many token requests are answered with 503
        self.pending = 0  # so many polls are answered with authorization_pending
        self.slow_downs = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._devices: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def introspection(self) -> str:
        return f"{self.url}/introspect"

    def provider_file(self, folder: Path, *, device: bool = True, name: str = "local") -> Path:
        """A file for the setting oauth_file."""
        file = folder / "providers.toml"
        lines = [
            f"[{name}]",
            'title = "Local"',
            f'authorise = "{self.url}/authorise?tenant=1"',
            f'token = "{self.url}/token"',
            f'revoke = "{self.url}/revoke"',
            'scope = "imap"',
            f'client_id = "{self.client_id}"',
        ]
        if device:
            lines.append(f'device = "{self.url}/device"')
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def expire(self) -> None:
        """All access tokens end now; grants stay."""
        with self._lock:
            for grant in self.grants:
                grant.access = dict.fromkeys(grant.access, 0.0)

    def revoke_all(self) -> None:
        with self._lock:
            for grant in self.grants:
                grant.revoked = True
                grant.access = dict.fromkeys(grant.access, 0.0)

    def count(self, grant_type: str) -> int:
        with self._lock:
            return sum(
                1 for path, form in self.requests if path == "/token" and form.get("grant_type") == grant_type
            )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    # -- answers

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, object] | None]:
        with self._lock:
            self.requests.append((path, form))
            if path == "/device":
                code = secrets.token_hex(8)
                self._devices[code] = self.user
                return 200, {
                    "device_code": code,
                    "user_code": "WDJB-MJHT",
                    "verification_uri": f"{self.url}/activate",
                    "expires_in": 600,
                    "interval": 0.01,
                }
            if path == "/introspect":
                return 200, self._introspect(form.get("token", ""))
            if (
                path == "/revoke"
            ):  # RFC 7009: who asks, and a body that says nothing; a dead token as at Google
                found = [one for one in self.grants if one.refresh_token == form.get("token")]
                if form.get("client_id") != self.client_id:
                    return 401, {"error": "invalid_client"}
                if not found or found[0].revoked:
                    return 400, {"error": "invalid_token"}
                found[0].revoked = True
                return 200, None
            if path == "/token":
                return self._token(form)
            return 404, {"error": "not_found"}

    def page(self, query: dict[str, str]) -> str:
        """Where the authorisation page sends the browser."""
        back = {"state": query.get("state", "")}
        with self._lock:
            self.requests.append(("/authorise", query))
            if self.refuse:
                back["error"] = self.refuse
            else:
                code = secrets.token_hex(8)
                self._codes[code] = query
                back["code"] = code
        return f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}"

    def _introspect(self, token: str) -> dict[str, object]:
        for grant in self.grants:
            if grant.access.get(token, 0.0) > time.time() and not grant.revoked:
                return {"active": True, "username": grant.user}
        return {"active": False}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        if self.busy:
            self.busy -= 1
            return 503, {}
        if form.get("client_id") != self.client_id:
            return 401, {"error": "invalid_client"}
        kind = form.get("grant_type")
        if kind == "authorization_code":
            asked = self._codes.pop(form.get("code", ""), None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if (
                asked is None
                or asked.get("code_challenge") != challenge
                or asked.get("redirect_uri") != form.get("redirect_uri")
            ):
                return 400, {"error": "invalid_grant"}
            return 200, self._new_grant(self.user)
        if kind == "urn:ietf:params:oauth:grant-type:device_code":
            if self.pending:
                self.pending -= 1
                return 400, {"error": "authorization_pending"}
            if self.slow_downs:
                self.slow_downs -= 1
                return 400, {"error": "slow_down"}
            if self.refuse:
                return 400, {"error": self.refuse}
            user = self._devices.pop(form.get("device_code", ""), None)
            return (200, self._new_grant(user)) if user else (400, {"error": "expired_token"})
        if kind == "refresh_token":
            for grant in self.grants:
                if grant.refresh_token == form.get("refresh_token") and not grant.revoked:
                    if self.rotate:
                        grant.refresh_token = secrets.token_hex(16)
                    return 200, self._tokens(grant)
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        return 400, {"error": "unsupported_grant_type"}

    def _new_grant(self, user: str) -> dict[str, object]:
        grant = Grant(user, secrets.token_hex(16))
        self.grants.append(grant)
        return self._tokens(grant)

    def _tokens(self, grant: Grant) -> dict[str, object]:
        token = secrets.token_hex(16)
        grant.access[token] = time.time() + self.seconds
        return {
            "access_token": token,
            "refresh_token": grant.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.seconds,
        }

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                if parts.path != "/authorise":
                    self.send_error(404)
                    return
                self.send_response(302)
                self.send_header("Location", outer.page(dict(urllib.parse.parse_qsl(parts.query))))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                status, answer = outer.answer(self.path, dict(urllib.parse.parse_qsl(text)))
                body = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler


@pytest.fixture
def authorisation():
    """A sign-in server."""
    server = AuthorisationServer()
    yield server
    server.close()
