"""Sign-in with the provider's web page (OAuth 2.0) instead of a password.

Two ways, by provider: a loopback redirect with PKCE (RFC 8252, RFC 7636), where a small web server on this computer
waits for the browser to come back; and the device code (RFC 8628), where the person types a code on the provider's
page, on any device. What is kept is the refresh token, as the account's secret in the person's place for secrets;
access tokens live in memory only. Nobody but the provider's own servers is asked.

Client ids are registrations of this program with a provider. Those in the table may be empty: then the person (or
whoever packages the program) enters their own in a file, see `load_providers`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import http.server
import json
import logging
import secrets
import threading
import time
import tomllib
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from spamd.domain import Account, AccountName
from spamd.errors import (
    ConfigError,
    ConnectionLost,
    CredentialError,
    MailboxError,
    ProtocolFault,
    ServerBusy,
    SignInError,
    SignInExpired,
)
from spamd.file_lock import locked

_log = logging.getLogger(__name__)

SECONDS = 20.0  # for one request to the provider
SIGN_IN_SECONDS = 600.0  # for the person, on the provider's page
EARLY_SECONDS = 120.0  # an access token is renewed this long before it ends
ANSWER_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class OAuthProvider:
    """One provider's endpoints. Either authorise (loopback) or device is set; both may be."""

    name: str
    title: str
    token: str  # URL
    scope: str
    authorise: str = ""  # URL
    device: str = ""  # URL
    client_id: str = ""
    client_secret: str = ""  # of an installed program, so no secret really; some providers insist on it
    extra: tuple[tuple[str, str], ...] = ()  # more parameters of the authorisation request
    revoke: str = ""  # URL


PROVIDERS: tuple[OAuthProvider, ...] = (
    OAuthProvider(
        "google",
        "Google",
        authorise="https://accounts.google.com/o/oauth2/v2/auth",
        token="https://oauth2.googleapis.com/token",
        scope="https://mail.google.com/",
        extra=(("access_type", "offline"), ("prompt", "consent")),
        revoke="https://oauth2.googleapis.com/revoke",
    ),
    OAuthProvider(
        "microsoft",
        "Microsoft",
        authorise="https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        device="https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
        token="https://login.microsoftonline.com/common/oauth2/v2.0/token",
        scope="https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
    ),
    OAuthProvider(
        "yahoo",
        "Yahoo",
        authorise="https://api.login.yahoo.com/oauth2/request_auth",
        token="https://api.login.yahoo.com/oauth2/get_token",
        scope="mail-r",
    ),
)


class SecretStore(Protocol):
    """Where the refresh token is kept (spamd.credentials)."""

    def get(self, account: AccountName) -> str: ...

    def set(self, account: AccountName, secret: str) -> None: ...


# ---- providers


def load_providers(file: Path | None = None) -> dict[str, OAuthProvider]:
    """The table, with what a TOML file changes or adds: [google] client_id = "…", or a whole new provider.

    Raises ConfigError.
    """
    table = {one.name: one for one in PROVIDERS}
    if file is None:
        return table
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        hint = "Correct it, or do without: `spamdctl settings unset oauth_file`."
        raise ConfigError(f"The file of sign-in providers {file} cannot be read: {error}.", hint) from error
    known = {one.name for one in fields(OAuthProvider)} - {"name"}
    for name, row in content.items():
        if not isinstance(row, dict):
            raise ConfigError(f"In {file}: [{name}] must be a table.")
        values: dict[str, Any] = {}
        for key, value in row.items():
            if key not in known:
                raise ConfigError(
                    f"In {file}: [{name}] knows no {key!r}.", f"Known: {', '.join(sorted(known))}."
                )
            if key == "extra" and isinstance(value, dict):
                values[key] = tuple((str(k), str(v)) for k, v in value.items())
            elif isinstance(value, str):
                values[key] = value
            else:
                raise ConfigError(f"In {file}: {key!r} of [{name}] must be text.")
        if name in table:
            table[name] = replace(table[name], **values)
        else:
            missing = {"token", "scope", "client_id"} - values.keys()
            if missing:
                raise ConfigError(f"In {file}: [{name}] needs {', '.join(sorted(missing))}.")
            table[name] = OAuthProvider(**{"name": name, "title": name, **values})
        for key in ("authorise", "device", "token", "revoke"):
            _check_url(getattr(table[name], key), f"{key} of [{name}] in {file}")
    return table


def provider_of(account: Account, table: Mapping[str, OAuthProvider]) -> OAuthProvider:
    """The account's provider, ready for use. ConfigError if it is unknown or has no client id."""
    provider = table.get(account.oauth_provider)
    if provider is None:
        raise ConfigError(
            f"There is no sign-in provider “{account.oauth_provider}”.", f"Known: {', '.join(sorted(table))}."
        )
    if not provider.client_id:
        raise ConfigError(
            f"Signing in with {provider.title} needs a client id, and this installation has none.",
            f"Register the program with {provider.title} and name the id in a file (setting oauth_file), or use "
            "an app password where the provider offers one.",
        )
    return provider


def _check_url(url: str, what: str) -> None:
    parts = urllib.parse.urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if url and parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise ConfigError(f"The {what} must be an https address.")


# ---- talking to the provider


def _post(url: str, form: Mapping[str, str], title: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON answer. Raises ConnectionLost, ServerBusy, ProtocolFault."""
    status, body = _sent(url, form, title)
    answer = _parsed(body)
    if answer is None:
        raise ProtocolFault(f"The answer of {urllib.parse.urlsplit(url).hostname} cannot be understood.")
    return status, answer


def _sent(url: str, form: Mapping[str, str], title: str) -> tuple[int, bytes]:
    """Status and body, whatever is in it. Raises ConnectionLost, ServerBusy, ProtocolFault."""
    import httpx

    host = urllib.parse.urlsplit(url).hostname or url
    try:
        with (
            httpx.Client(timeout=SECONDS, follow_redirects=False) as client,
            client.stream("POST", url, data=dict(form), headers={"Accept": "application/json"}) as response,
        ):
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > ANSWER_LIMIT:
                    raise ProtocolFault(f"{host} sent too much.")
            status = response.status_code
    except httpx.TimeoutException as error:
        raise ConnectionLost(f"{host} did not answer in time.", "It is tried again by itself.") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise ConnectionLost(
            f"{host} cannot be reached.", "Check the network. It is tried again by itself."
        ) from error
    if status == 429 or status >= 500:
        raise ServerBusy(f"{title}'s sign-in is busy.", "It is tried again by itself.")
    return status, body


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _text(answer: Mapping[str, Any], key: str, limit: int = 16384) -> str:
    value = answer.get(key)
    return value[:limit] if isinstance(value, str) else ""


def _number(answer: Mapping[str, Any], key: str, default: float) -> float:
    value = answer.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if 0 < number < 10 * 365 * 86400 else default


def _refused(answer: Mapping[str, Any], provider: OAuthProvider) -> MailboxError:
    code = _text(answer, "error", 100)
    said = "".join(
        one if one.isprintable() else " " for one in _text(answer, "error_description", 200)
    ).strip()
    if code in ("invalid_grant", "interaction_required", "consent_required", "login_required"):
        return SignInExpired(
            f"The sign-in with {provider.title} has ended.", "Sign in again: the account's page has a button."
        )
    if code in ("invalid_client", "unauthorized_client"):
        return SignInError(
            f"{provider.title} does not know this program's client id.", "Check the setting oauth_file."
        )
    if code in ("access_denied", "authorization_declined"):
        return SignInError(
            f"{provider.title}: the sign-in was declined.", "Start it again if that was a mistake."
        )
    if code in ("temporarily_unavailable", "server_error"):
        return ServerBusy(f"{provider.title}'s sign-in is busy.", "It is tried again by itself.")
    return SignInError(f"{provider.title} refused the sign-in: {said or code or 'no reason given'}.")


# ---- tokens of an account


@dataclass(frozen=True, slots=True)
class _Access:
    token: str
    ends_at: float  # monotonic


class Tokens:
    """Gives access tokens of one account, and renews them. Thread-safe; one object per account serves all of its
    connections. Implements spamd.mailbox.connection.TokenSource."""

    def __init__(
        self,
        account: AccountName,
        provider: OAuthProvider,
        store: SecretStore,
        *,
        lock_file: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """lock_file: keeps two programs from spending one refresh token at once."""
        self.account = account
        self.provider = provider
        self._store = store
        self._lock_file = lock_file
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._access: _Access | None = None
        self._refresh_token = ""

    def __call__(self, *, fresh: bool) -> str:
        """An access token. fresh: the last one was refused. Raises SignInExpired, ConnectionLost, ..."""
        seen = self._access
        with self._lock:
            access = self._access
            valid = access is not None and access.ends_at - EARLY_SECONDS > self._monotonic()
            # Another thread may have renewed it while we waited for the lock.
            if access is not None and valid and (not fresh or access is not seen):
                return access.token
            if self._lock_file is None:
                return self._renew()
            with locked(self._lock_file):
                return self._renew()

    def _renew(self) -> str:
        secret = _unpacked(self._store.get(self.account))
        form = {
            "grant_type": "refresh_token",
            "refresh_token": secret,
            "client_id": self.provider.client_id,
        }
        if self.provider.client_secret:
            form["client_secret"] = self.provider.client_secret
        status, answer = _post(self.provider.token, form, self.provider.title)
        token = _text(answer, "access_token")
        if status != 200 or not token:
            raise _refused(answer, self.provider)
        rotated = _text(answer, "refresh_token")
        if rotated and rotated != secret:
            # Written before the access token is used: the old one may be worthless from now on.
            self._store.set(self.account, packed(rotated))
        self._access = _Access(token, self._monotonic() + _number(answer, "expires_in", 3600.0))
        return token


def packed(refresh_token: str) -> str:
    """The account's secret: one line."""
    return json.dumps({"refresh_token": refresh_token})


def _unpacked(secret: str) -> str:
    try:
        value = json.loads(secret)
    except ValueError:
        value = None
    token = value.get("refresh_token") if isinstance(value, dict) else None
    if not isinstance(token, str) or not token:
        raise CredentialError(
            "This account has no sign-in with the provider yet.", "Sign in: the account's page has a button."
        )
    return token


def revoke(provider: OAuthProvider, secret: str) -> None:
    """Take the grant back (RFC 7009), when an account is removed; nothing where the provider has no address for that.

    Raises CredentialError (there is no grant in the secret), ConnectionLost, ServerBusy, ProtocolFault, SignInError.
    """
    if not provider.revoke:
        return
    form = {
        "token": _unpacked(secret),
        "token_type_hint": "refresh_token",
        "client_id": provider.client_id,
        **({"client_secret": provider.client_secret} if provider.client_secret else {}),
    }
    status, body = _sent(provider.revoke, form, provider.title)  # where it worked the body says nothing (2.2)
    answer = _parsed(body) or {}
    if status != 200 and _text(answer, "error") != "invalid_token":  # Google's word for one that has ended
        raise _refused(answer, provider)


# ---- signing in


class PendingSignIn(Protocol):
    """A sign-in that waits for the person."""

    url: str  # to open in the browser
    code: str  # to type there; "" where nothing is to be typed
    expires_at: float  # Unix time

    def wait(self) -> str:
        """Until the person is through: the account's secret (for SecretStore.set). Raises SignInError,
        ConnectionLost, ..."""
        ...

    def cancel(self) -> None:
        """From any thread: wait() raises at once."""
        ...


def begin(account: Account, provider: OAuthProvider, *, browser_here: bool = True) -> PendingSignIn:
    """Start signing in. browser_here: the browser runs on this computer (else the device code is preferred)."""
    if provider.device and (provider.name == "microsoft" or not browser_here or not provider.authorise):
        return DeviceSignIn(account, provider)
    if not provider.authorise:
        raise ConfigError(f"{provider.title} has no page to sign in.")
    return LoopbackSignIn(account, provider)


class LoopbackSignIn:
    """The browser comes back to a port of this computer, once."""

    code = ""

    def __init__(
        self, account: Account, provider: OAuthProvider, *, seconds: float = SIGN_IN_SECONDS
    ) -> None:
        self._provider = provider
        self._verifier = secrets.token_urlsafe(64)
        self._state = secrets.token_urlsafe(32)
        self._answer: dict[str, str] | None = None
        self._done = threading.Event()
        self._cancelled = False
        self._seconds = seconds
        self.expires_at = time.time() + seconds
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.redirect = f"http://127.0.0.1:{self._server.server_port}/"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self._verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": self.redirect,
            "scope": provider.scope,
            "state": self._state,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            "login_hint": account.user,
            **dict(provider.extra),
        }
        joint = "&" if "?" in provider.authorise else "?"
        self.url = provider.authorise + joint + urllib.parse.urlencode(query)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="spamd-sign-in", daemon=True
        )
        self._thread.start()
        # Whoever never calls wait() must not leave a port open for ever.
        self._timer = threading.Timer(seconds, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def wait(self) -> str:
        try:
            self._done.wait(self._seconds)
            answer = self._answer
        finally:
            self._close()
        if self._cancelled:
            raise SignInError("The sign-in was cancelled.")
        if answer is None:
            raise SignInError("Nobody signed in.", "Start the sign-in again.")
        if "code" not in answer:
            raise _refused(answer, self._provider)
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self.redirect,
            "client_id": self._provider.client_id,
            "code_verifier": self._verifier,
        }
        if self._provider.client_secret:
            form["client_secret"] = self._provider.client_secret
        status, tokens = _post(self._provider.token, form, self._provider.title)
        if status != 200:
            raise _refused(tokens, self._provider)
        return _kept(tokens, self._provider)

    def cancel(self) -> None:
        self._cancelled = True
        self._done.set()
        self._close()

    def _give_up(self) -> None:
        self._done.set()
        self._close()

    def _close(self) -> None:
        self._timer.cancel()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                given = query.get("state", "")
                if outer._done.is_set() or not hmac.compare_digest(given.encode(), outer._state.encode()):
                    # Another page of the browser, or another program: not the answer we wait for.
                    self._say(404, "Nothing here", "This address only waits for a sign-in.")
                    return
                outer._answer = query
                if "code" in query:
                    self._say(200, "Signed in", "You can close this window.")
                else:
                    self._say(200, "Not signed in", "The provider did not agree. You can close this window.")
                outer._done.set()

            def _say(self, status: int, title: str, text: str) -> None:
                page = (
                    '<!doctype html><html lang="en"><meta charset="utf-8">'
                    f"<title>{html.escape(title)}</title><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>"
                ).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """The request line holds the code: never logged."""

        return Handler


class DeviceSignIn:
    """The person types a code on the provider's page."""

    def __init__(self, account: Account, provider: OAuthProvider) -> None:
        self._provider = provider
        self._cancelled = threading.Event()
        form = {"client_id": provider.client_id, "scope": provider.scope}
        status, answer = _post(provider.device, form, provider.title)
        if status != 200:
            raise _refused(answer, provider)
        self._device_code = _text(answer, "device_code")
        self.code = _text(answer, "user_code", 64)
        self.url = _text(answer, "verification_uri", 2048) or _text(answer, "verification_url", 2048)
        self._interval = min(_number(answer, "interval", 5.0), 60.0)
        self.expires_at = time.time() + min(_number(answer, "expires_in", 900.0), 3600.0)
        if not (self._device_code and self.code and self.url.startswith(("https://", "http://127.0.0.1"))):
            raise ProtocolFault(f"The answer of {provider.title} cannot be understood.")

    def wait(self) -> str:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": self._device_code,
            "client_id": self._provider.client_id,
        }
        if self._provider.client_secret:
            form["client_secret"] = self._provider.client_secret
        interval = self._interval
        while time.time() < self.expires_at:
            if self._cancelled.wait(interval):
                raise SignInError("The sign-in was cancelled.")
            try:
                status, answer = _post(self._provider.token, form, self._provider.title)
            except (ConnectionLost, ServerBusy):
                interval = min(interval * 2, 60.0)  # RFC 8628 3.5
                continue
            if status == 200:
                return _kept(answer, self._provider)
            code = _text(answer, "error", 100)
            if code == "slow_down":
                interval += 5.0
            elif code == "expired_token":
                break
            elif code != "authorization_pending":
                raise _refused(answer, self._provider)
        raise SignInError("The code has expired before anybody signed in.", "Start the sign-in again.")

    def cancel(self) -> None:
        self._cancelled.set()


def _kept(tokens: Mapping[str, Any], provider: OAuthProvider) -> str:
    token = _text(tokens, "refresh_token")
    if not token:
        raise SignInError(
            f"{provider.title} gave no lasting permission.", "Sign in again and agree to all that is asked."
        )
    return packed(token)


__all__ = [
    "PROVIDERS",
    "DeviceSignIn",
    "LoopbackSignIn",
    "OAuthProvider",
    "PendingSignIn",
    "SecretStore",
    "Tokens",
    "begin",
    "load_providers",
    "packed",
    "provider_of",
    "revoke",
]
