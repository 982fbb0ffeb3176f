"""A typed client of the running daemon's API. Command line and tray use nothing else of it.

Every method raises `NotRunning` when no daemon answers, and `RequestError` (or `NotFound`) with the daemon's
own words when it refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from spamd import wire
from spamd.answers import (
    AccountCheck,
    AccountView,
    Answered,
    Done,
    Happening,
    Identified,
    Imported,
    Models,
    Progress,
    ReviewItem,
    ServerGuess,
    SettingView,
    Shadow,
    SignIn,
    SimilarMail,
    Status,
    Trends,
    UndoPlan,
    Whereabouts,
    Why,
    Wiped,
    imported,
)
from spamd.domain import (
    AuthMethod,
    EventRecord,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    ListEntry,
    Mode,
    ModelCard,
    TlsMode,
    Verdict,
)
from spamd.errors import (
    DoneInPart,
    MailboxError,
    NotAnswering,
    NotFound,
    NotRunning,
    RequestError,
    SpamdError,
    StoreBusy,
)
from spamd.paths import is_full

if TYPE_CHECKING:
    from spamd.paths import Paths

T = TypeVar("T")

QUICK = 15.0  # seconds
IMPORTED_AT_ONCE = 10_000  # labels of some 200 bytes
SLOW = 90.0  # answers that need the mail server, or much of the store


class _TooLate(RequestError):
    """There was no answer in time."""


class Client:
    """One daemon, found by its run file. Use as a context manager, or close()."""

    def __init__(
        self, port: int, token: str, *, pid: int = 0, version: str = "", started_at: float = 0.0
    ) -> None:
        self.port = port
        self.pid = pid
        self.version = version
        self.started_at = started_at
        # trust_env off: a proxy setting must never see the token.
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=QUICK,
            trust_env=False,
        )

    @classmethod
    def connect(cls, paths: Paths) -> Client:
        """The daemon of this home. NotRunning where there is none, or it does not answer."""
        try:
            run = json.loads(paths.run_file.read_text("utf-8"))
            client = cls(
                int(run["port"]),
                str(run["token"]),
                pid=int(run["pid"]),
                version=str(run["version"]),
                started_at=float(run["started_at"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise _not_running(full=is_full(paths.state)) from None
        try:
            client.progress()  # the cheapest question that needs the token
        except _TooLate:
            client.close()
            raise NotAnswering(
                "spamd does not answer.", "It is very busy, or held up (Ctrl-Z?). Try again in a moment."
            ) from None
        except SpamdError:  # also of another program, which has the port of one that was killed
            client.close()
            raise _not_running(full=is_full(paths.state)) from None
        return client

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- how things are

    def status(self) -> Status:
        return self._get(Status, "/status")

    def progress(self) -> tuple[Progress, ...]:
        return self._get(tuple[Progress, ...], "/progress")

    def events(
        self,
        *,
        limit: int = 100,
        before_id: int | None = None,
        needs_person: bool | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[EventRecord, ...]:
        return self._get(
            tuple[EventRecord, ...],
            "/events",
            {
                "limit": limit,
                "before_id": before_id,
                "needs_person": needs_person,
                "since": since,
                "until": until,
            },
        )

    def stream(self, *, timeout: float | None = 60.0) -> Iterator[Happening]:
        """Happenings as they come; ends when the daemon stops. timeout: seconds without even a heartbeat."""
        try:
            with self._http.stream(
                "GET", "/api/v1/stream", timeout=httpx.Timeout(QUICK, read=timeout)
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise _error(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield wire.from_json(Happening, json.loads(line[5:]), ignore_unknown=True)
        except httpx.TransportError:
            raise _not_running() from None

    def open_url(self, page: str = "") -> str:
        """An address that opens the pages in a browser: once, within a minute. page: such as "review"."""
        path: str = self._ask("POST", "/open")["path"]
        return f"http://127.0.0.1:{self.port}{path}" + (f"&to={page}" if page else "")

    def stop(self) -> Done:
        return self._post(Done, "/stop")

    # -- mails

    def judgements(
        self,
        *,
        account: str | None = None,
        verdict: Verdict | None = None,
        since: float | None = None,
        until: float | None = None,
        before_id: int | None = None,
        limit: int = 50,
    ) -> tuple[Judgement, ...]:
        return self._get(
            tuple[Judgement, ...],
            "/judgements",
            {
                "account": account,
                "verdict": verdict.value if verdict else None,
                "since": since,
                "until": until,
                "before_id": before_id,
                "limit": limit,
            },
        )

    def judgement(self, judgement_id: int) -> Judgement:
        return self._get(Judgement, f"/judgements/{judgement_id}")

    def why(self, judgement_id: int) -> Why:
        return self._get(Why, f"/judgements/{judgement_id}/why", slow=True)

    def similar(self, judgement_id: int, limit: int = 20) -> tuple[SimilarMail, ...]:
        return self._get(tuple[SimilarMail, ...], f"/judgements/{judgement_id}/similar", {"limit": limit})

    def search(
        self,
        text: str,
        *,
        since: float | None = None,
        until: float | None = None,
        before_id: int | None = None,
        limit: int = 50,
    ) -> tuple[Judgement, ...]:
        return self._get(
            tuple[Judgement, ...],
            "/search",
            {"text": text, "since": since, "until": until, "before_id": before_id, "limit": limit},
        )

    def review(self, limit: int = 20) -> tuple[ReviewItem, ...]:
        return self._get(tuple[ReviewItem, ...], "/review", {"limit": limit})

    def answer(
        self,
        judgement_id: int,
        label: Label,
        *,
        move: bool = True,
        source: LabelSource = LabelSource.REVIEW,
    ) -> Answered:
        body = {"label": label.value, "move": move, "source": source.value}
        return self._post(Answered, f"/judgements/{judgement_id}/label", body)

    def unanswer(self, judgement_id: int) -> Done:
        """Take the last answer on this mail back."""
        return self._post(Done, f"/judgements/{judgement_id}/unanswer")

    def try_mail(self, raw: bytes) -> Why:
        return self._post(Why, "/try", {"raw": wire.to_json(raw)}, slow=True)

    def teach(self, raw: bytes, label: Label, account: str | None = None) -> LabelRecord:
        body = {"raw": wire.to_json(raw), "label": label.value, "account": account}
        return self._post(LabelRecord, "/teach", body, slow=True)

    def identify(
        self,
        message_id: str,
        *,
        size: int | None = None,
        raw: bytes | None = None,
        account: str | None = None,
        lies_in: str = "",
    ) -> Identified:
        body = {
            "message_id": message_id,
            "size": size,
            "raw": None if raw is None else wire.to_json(raw),
            "account": account,
            "lies_in": lies_in,
        }
        return self._post(Identified, "/identify", body)

    def whereabouts(self, judgement_id: int) -> Whereabouts:
        return self._get(Whereabouts, f"/judgements/{judgement_id}/whereabouts")

    # -- undo

    def undo_move(self, judgement_id: int) -> Answered:
        return self._post(Answered, f"/judgements/{judgement_id}/undo")

    def undo(
        self,
        *,
        since: float | None = None,
        model_id: str | None = None,
        account: str | None = None,
        dry_run: bool = True,
    ) -> UndoPlan:
        body = {"since": since, "model_id": model_id, "account": account, "dry_run": dry_run}
        return self._post(UndoPlan, "/undo", body, slow=True)

    # -- labels and lists

    def labels(
        self,
        *,
        account: str | None = None,
        since: float | None = None,
        held: bool | None = None,
        source: LabelSource | None = None,
        limit: int = 100,
    ) -> tuple[LabelRecord, ...]:
        return self._get(
            tuple[LabelRecord, ...],
            "/labels",
            {
                "account": account,
                "since": since,
                "held": held,
                "source": source.value if source else None,
                "limit": limit,
            },
        )

    def set_label(
        self, account: str, identity: str, label: Label, source: LabelSource = LabelSource.REVIEW
    ) -> LabelRecord:
        body = {"account": account, "identity": identity, "label": label.value, "source": source.value}
        return self._post(LabelRecord, "/labels", body)

    def forget_label(self, account: str, identity: str) -> Done:
        return self._post(Done, "/labels/forget", {"account": account, "identity": identity})

    def answer_held(self, *, mine: bool, account: str | None = None) -> Done:
        return self._post(Done, "/labels/held", {"mine": mine, "account": account}, slow=True)

    def export_labels(self) -> tuple[LabelRecord, ...]:
        return self._get(tuple[LabelRecord, ...], "/labels/export", slow=True)

    def import_labels(self, records: Sequence[LabelRecord]) -> Imported:
        """In steps: some years of mail left lying are more labels than one request may hold (24 MB)."""
        told = [
            self._post(Imported, "/labels/import", {"labels": wire.to_json(some)}, slow=True)
            for start in range(0, max(1, len(records)), IMPORTED_AT_ONCE)
            for some in [records[start : start + IMPORTED_AT_ONCE]]
        ]
        return imported(sum(one.added for one in told), sum(one.skipped for one in told))

    def lists(self) -> tuple[ListEntry, ...]:
        return self._get(tuple[ListEntry, ...], "/lists")

    def add_to_list(self, value: str, label: Label, expires_at: float | None = None) -> ListEntry:
        return self._post(
            ListEntry, "/lists", {"value": value, "label": label.value, "expires_at": expires_at}
        )

    def remove_from_list(self, value: str) -> Done:
        return self._post(Done, "/lists/remove", {"value": value})

    # -- models

    def trends(self, days: int = 30) -> Trends:
        return self._get(Trends, "/trends", {"days": days}, slow=True)

    def shadow(self, days: int = 7, account: str | None = None) -> tuple[Shadow, ...]:
        return self._get(tuple[Shadow, ...], "/shadow", {"days": days, "account": account}, slow=True)

    def models(self) -> Models:
        return self._get(Models, "/models")

    def train(self, *, from_scratch: bool = False) -> Done:
        return self._post(Done, "/train", {"from_scratch": from_scratch})

    def roll_back(self, to: str | None = None) -> ModelCard:
        return self._post(ModelCard, "/models/rollback", {"id": to})

    def reset_model(self) -> ModelCard:
        return self._post(ModelCard, "/models/reset")

    # -- accounts

    def accounts(self) -> tuple[AccountView, ...]:
        return self._get(tuple[AccountView, ...], "/accounts")

    def account(self, name: str) -> AccountView:
        return self._get(AccountView, f"/accounts/{name}")

    def find_servers(self, address: str) -> tuple[ServerGuess, ...]:
        return self._post(tuple[ServerGuess, ...], "/accounts/find", {"address": address}, slow=True)

    def check_account(self, name: str, *, host: str, user: str, **rest: Any) -> AccountCheck:
        return self._post(AccountCheck, "/accounts/check", _account(name, host, user, rest), slow=True)

    def add_account(
        self,
        name: str,
        *,
        host: str,
        user: str,
        secret: str | None = None,
        port: int = 0,
        tls: TlsMode = TlsMode.IMPLICIT,
        auth: AuthMethod = AuthMethod.PASSWORD,
        oauth_provider: str = "",
        junk: str | None = None,
        mode: Mode | None = None,
    ) -> AccountView:
        rest = {
            "secret": secret,
            "port": port,
            "tls": tls,
            "auth": auth,
            "oauth_provider": oauth_provider,
            "junk": junk,
            "mode": mode,
        }
        return self._post(AccountView, "/accounts", _account(name, host, user, rest))

    def update_account(self, name: str, changes: Mapping[str, str]) -> AccountView:
        return self._post(AccountView, f"/accounts/{name}/update", {"changes": dict(changes)})

    def remove_account(self, name: str, *, wipe: bool = False) -> Done:
        return self._read(Done, self._ask("DELETE", f"/accounts/{name}", query={"wipe": wipe}, slow=True))

    def set_mode(self, name: str, mode: Mode | None) -> AccountView:
        return self._post(AccountView, f"/accounts/{name}/mode", {"mode": mode.value if mode else None})

    def set_secret(self, name: str, secret: str) -> AccountView:
        return self._post(AccountView, f"/accounts/{name}/secret", {"secret": secret})

    def sign_in(self, name: str) -> SignIn:
        return self._post(SignIn, f"/accounts/{name}/sign-in", slow=True)

    def test_account(self, name: str) -> AccountCheck:
        return self._post(AccountCheck, f"/accounts/{name}/test", slow=True)

    def start_first_reading(self, name: str) -> Done:
        return self._post(Done, f"/accounts/{name}/read")

    def go_on(self, name: str) -> Done:
        return self._post(Done, f"/accounts/{name}/go-on")

    def pause(
        self, *, account: str | None = None, seconds: float | None = None, until: float | None = None
    ) -> Done:
        return self._post(Done, "/pause", {"account": account, "seconds": seconds, "until": until})

    def resume(self, account: str | None = None) -> Done:
        return self._post(Done, "/resume", {"account": account})

    def wake(self, account: str | None = None) -> Done:
        return self._post(Done, "/wake", {"account": account})

    # -- settings and data

    def settings(self) -> tuple[SettingView, ...]:
        return self._get(tuple[SettingView, ...], "/settings")

    def set_settings(self, changes: Mapping[str, str]) -> tuple[SettingView, ...]:
        return self._post(tuple[SettingView, ...], "/settings", {"changes": dict(changes)}, slow=True)

    def reload(self) -> Done:
        """config.toml was changed by hand."""
        return self._post(Done, "/reload")

    def wipe(self, what: str) -> Wiped:
        """what: "display", "account:NAME" or "all"."""
        return self._post(Wiped, "/wipe", {"what": what}, slow=True)

    def settle_event(self, event_id: int) -> Done:
        return self._post(Done, f"/events/{event_id}/settle")

    # -- inside

    def _get(
        self, cls: type[T], path: str, query: Mapping[str, object] | None = None, *, slow: bool = False
    ) -> T:
        return self._read(cls, self._ask("GET", path, query=query, slow=slow))

    def _post(
        self, cls: type[T], path: str, body: Mapping[str, object] | None = None, *, slow: bool = False
    ) -> T:
        return self._read(cls, self._ask("POST", path, body, slow=slow))

    def _read(self, cls: type[T], data: Any) -> T:
        return wire.from_json(cls, data, ignore_unknown=True)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        slow: bool = False,
    ) -> Any:
        params: dict[str, str] = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in (query or {}).items()
            if value is not None
        }
        try:
            response = self._http.request(
                method, f"/api/v1{path}", params=params, json=body, timeout=SLOW if slow else QUICK
            )
        except httpx.TimeoutException:
            raise _TooLate(
                "The daemon did not answer in time.", "Try again; `spamdctl logs` says more."
            ) from None
        except httpx.TransportError:
            raise _not_running() from None
        if response.status_code != 200:
            raise _error(response)
        try:
            return response.json()
        except ValueError:
            raise RequestError(
                "The daemon's answer cannot be read.", "Client and daemon may differ in version."
            ) from None


def _account(name: str, host: str, user: str, rest: Mapping[str, object]) -> dict[str, object]:
    return {
        "name": name,
        "host": host,
        "user": user,
        **{key: wire.to_json(value) for key, value in rest.items()},
    }


def _not_running(*, full: bool = False) -> NotRunning:
    if full:
        return NotRunning(
            "spamd is not running: there is no room on the disk.",
            "Make room. One that was started waits for it; else start it with `spamdctl run`.",
        )
    return NotRunning(
        "spamd is not running.",
        "Start it with `spamdctl run`, or with your session: `spamdctl service install`.",
    )


def _error(response: httpx.Response) -> SpamdError:
    try:
        told = response.json()["error"]
        title, hint = str(told["title"]), str(told["hint"])
    except (ValueError, KeyError, TypeError):
        title, hint = f"The daemon refused (HTTP {response.status_code}).", ""
    kinds: dict[int, type[SpamdError]] = {
        401: NotRunning,
        404: NotFound,
        409: DoneInPart,
        502: MailboxError,
        503: StoreBusy,
    }
    return kinds.get(response.status_code, RequestError)(title, hint)
