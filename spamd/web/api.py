"""The JSON API under /api/v1: one route table, from which routes and the OpenAPI document are made.

No route takes a path or a command. Bodies are JSON objects with exactly the fields of their type.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import math
import types
import typing
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route as StarletteRoute

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
)
from spamd.control import Control
from spamd.domain import (
    Account,
    AccountName,
    AuthMethod,
    EventRecord,
    FolderName,
    Identity,
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
from spamd.errors import DoneInPart, MailboxError, NotFound, RequestError, SpamdError, StoreBusy
from spamd.web.access import Access
from spamd.web.openapi import INTEGER_LIMIT, NUMBER_LIMIT, document

log = logging.getLogger(__name__)

JSON = "application/json"


# What is asked ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailQuery:
    account: str | None = None
    verdict: Verdict | None = None
    since: float | None = None
    until: float | None = None
    before_id: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class SearchQuery:
    text: str = ""
    since: float | None = None
    until: float | None = None
    before_id: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class LimitQuery:
    limit: int = 20


@dataclass(frozen=True, slots=True)
class DaysQuery:
    days: int = 30


@dataclass(frozen=True, slots=True)
class ShadowQuery:
    days: int = 7
    account: str | None = None


@dataclass(frozen=True, slots=True)
class LabelQuery:
    account: str | None = None
    since: float | None = None
    held: bool | None = None
    source: LabelSource | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class EventQuery:
    limit: int = 100
    before_id: int | None = None
    needs_person: bool | None = None
    since: float | None = None
    until: float | None = None


PersonsWord = typing.Literal["review", "addon", "undo"]
"""Where a word given through the API may come from; the other sources are what the daemon itself saw."""


@dataclass(frozen=True, slots=True)
class LabelBody:
    label: Label
    move: bool = True
    source: PersonsWord = "review"


@dataclass(frozen=True, slots=True)
class UndoBody:
    since: float | None = None
    model_id: str | None = None
    account: str | None = None
    dry_run: bool = True


@dataclass(frozen=True, slots=True)
class PauseBody:
    seconds: float | None = None
    until: float | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class WhichAccount:
    account: str | None = None


@dataclass(frozen=True, slots=True)
class TrainBody:
    from_scratch: bool = False


@dataclass(frozen=True, slots=True)
class RollBackBody:
    id: str | None = None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An IMAP account as the person describes it. Local mailboxes are added in config.toml: no paths here."""

    name: str
    host: str
    user: str
    secret: str | None = None
    port: int = 0
    tls: TlsMode = TlsMode.IMPLICIT
    auth: AuthMethod = AuthMethod.PASSWORD
    oauth_provider: str = ""
    junk: str | None = None
    mode: Mode | None = None

    def account(self) -> Account:
        return Account(
            name=AccountName(self.name),
            host=self.host,
            port=self.port,
            user=self.user,
            tls=self.tls,
            auth=self.auth,
            oauth_provider=self.oauth_provider,
            junk=FolderName(self.junk) if self.junk else None,
            mode=self.mode,
        )


@dataclass(frozen=True, slots=True)
class AccountChanges:
    """Settings of an account, as typed; "" takes one back to its default."""

    changes: dict[str, str]


@dataclass(frozen=True, slots=True)
class ModeBody:
    mode: Mode | None


@dataclass(frozen=True, slots=True)
class SecretBody:
    secret: str


@dataclass(frozen=True, slots=True)
class AddressBody:
    address: str


@dataclass(frozen=True, slots=True)
class ListBody:
    value: str
    label: Label
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ListValue:
    value: str


@dataclass(frozen=True, slots=True)
class SetLabelBody:
    account: str
    identity: Identity
    label: Label
    source: PersonsWord = "review"


@dataclass(frozen=True, slots=True)
class WhichLabel:
    account: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class HeldBody:
    mine: bool
    account: str | None = None


@dataclass(frozen=True, slots=True)
class ImportBody:
    labels: tuple[LabelRecord, ...]


@dataclass(frozen=True, slots=True)
class SettingsBody:
    changes: dict[str, str]


@dataclass(frozen=True, slots=True)
class MailBody:
    raw: bytes


@dataclass(frozen=True, slots=True)
class TeachBody:
    raw: bytes
    label: Label
    account: str | None = None


@dataclass(frozen=True, slots=True)
class IdentifyBody:
    message_id: str
    size: int | None = None  # bytes, as IMAP tells it; 0: not known
    raw: bytes | None = None  # how the mail begins; where the first two are doubtful
    account: str | None = None  # of several copies that in this account,
    lies_in: str = ""  # and in this folder, as the mail program calls it


@dataclass(frozen=True, slots=True)
class WipeBody:
    what: str  # "display", "account:NAME" or "all"


@dataclass(frozen=True, slots=True)
class RemoveQuery:
    wipe: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """Where the pages can be opened in a browser, once, within a minute."""

    path: str  # on this host and port


@dataclass(frozen=True, slots=True)
class ErrorText:
    title: str
    hint: str


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    error: ErrorText


# The table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read and checked."""

    path: dict[str, Any]
    query: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str  # below /api/v1
    summary: str
    answer: Any  # the type of the answer
    run: Callable[[Control, Call], object] | None
    query: type[Any] | None = None
    body: type[Any] | None = None
    media: str = JSON

    @property
    def name(self) -> str:
        words = [
            word.strip("{}").partition(":")[0] for word in self.path.strip("/").replace("-", "_").split("/")
        ]
        return "_".join([self.method.lower(), *(word.replace(".", "_") for word in words)])


def _labels_answer(c: Control, r: Call) -> object:
    q: LabelQuery = r.query
    return c.labels.newest(account=q.account, since=q.since, held=q.held, source=q.source, limit=q.limit)


def _update(c: Control, r: Call) -> object:
    from spamd import settings

    changes: dict[str, object] = {
        name: None if text == "" else settings.account_value_from_text(name, text)
        for name, text in r.body.changes.items()
    }
    return c.accounts.update(r.path["name"], changes)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/status", "How things are", Status, lambda c, r: c.status()),
    Route(
        "GET",
        "/judgements",
        "Mails judged, newest first",
        tuple[Judgement, ...],
        lambda c, r: c.mail.recent(**_asked(r.query)),
        query=MailQuery,
    ),
    Route("GET", "/judgements/{id:int}", "One of them", Judgement, lambda c, r: c.mail.one(r.path["id"])),
    Route(
        "GET",
        "/judgements/{id:int}/whereabouts",
        "How a mail program finds it",
        Whereabouts,
        lambda c, r: c.mail.whereabouts(r.path["id"]),
    ),
    Route(
        "GET", "/judgements/{id:int}/why", "What made its score", Why, lambda c, r: c.mail.why(r.path["id"])
    ),
    Route(
        "GET",
        "/judgements/{id:int}/similar",
        "Mails like it",
        tuple[SimilarMail, ...],
        lambda c, r: c.mail.similar(r.path["id"], r.query.limit),
        query=LimitQuery,
    ),
    Route(
        "POST",
        "/judgements/{id:int}/label",
        "The person's word on it: taught at once, and moved accordingly",
        Answered,
        lambda c, r: c.review.answer(
            r.path["id"], r.body.label, source=LabelSource(r.body.source), move=r.body.move
        ),
        body=LabelBody,
    ),
    Route(
        "POST",
        "/judgements/{id:int}/undo",
        "Put it back",
        Answered,
        lambda c, r: c.moves.undo_one(r.path["id"]),
    ),
    Route(
        "POST",
        "/judgements/{id:int}/unanswer",
        "Take the last answer back",
        Done,
        lambda c, r: c.review.unanswer(r.path["id"]),
    ),
    Route(
        "GET",
        "/review",
        "What the person's word is wanted on",
        tuple[ReviewItem, ...],
        lambda c, r: c.review.items(r.query.limit),
        query=LimitQuery,
    ),
    Route(
        "GET",
        "/search",
        "Over sender, subject and snippet, as far as kept",
        tuple[Judgement, ...],
        lambda c, r: c.mail.search(**_asked(r.query)),
        query=SearchQuery,
    ),
    Route(
        "GET",
        "/trends",
        "Figures over time",
        Trends,
        lambda c, r: c.figures.trends(r.query.days),
        query=DaysQuery,
    ),
    Route(
        "GET",
        "/shadow",
        "What would have been moved, right and wrong",
        tuple[Shadow, ...],
        lambda c, r: c.figures.shadow(r.query.days, r.query.account),
        query=ShadowQuery,
    ),
    Route("GET", "/models", "Models on disk and in use", Models, lambda c, r: c.models.all()),
    Route(
        "POST",
        "/train",
        "Train now",
        Done,
        lambda c, r: c.models.train(from_scratch=r.body.from_scratch),
        body=TrainBody,
    ),
    Route(
        "POST",
        "/models/rollback",
        "Back to an earlier model",
        ModelCard,
        lambda c, r: c.models.roll_back(r.body.id),
        body=RollBackBody,
    ),
    Route("POST", "/models/reset", "Back to the shipped model", ModelCard, lambda c, r: c.models.reset()),
    Route("GET", "/progress", "Long work under way", tuple[Progress, ...], lambda c, r: c.progress()),
    Route(
        "POST",
        "/undo",
        "All moves since a time or of a model; dry_run only tells",
        UndoPlan,
        lambda c, r: c.moves.undo(**_asked(r.body)),
        body=UndoBody,
    ),
    Route(
        "POST",
        "/pause",
        "No verdicts, no moves",
        Done,
        lambda c, r: c.accounts.pause(**_asked(r.body)),
        body=PauseBody,
    ),
    Route(
        "POST", "/resume", "Go on", Done, lambda c, r: c.accounts.resume(r.body.account), body=WhichAccount
    ),
    Route(
        "POST",
        "/wake",
        "Look for mail now",
        Done,
        lambda c, r: c.accounts.wake(r.body.account),
        body=WhichAccount,
    ),
    Route("GET", "/accounts", "The accounts", tuple[AccountView, ...], lambda c, r: c.accounts.all()),
    Route(
        "POST",
        "/accounts",
        "Add an account",
        AccountView,
        lambda c, r: c.accounts.add(r.body.account(), r.body.secret),
        body=NewAccount,
    ),
    Route(
        "POST",
        "/accounts/find",
        "Servers of an address",
        tuple[ServerGuess, ...],
        lambda c, r: c.accounts.find_servers(r.body.address),
        body=AddressBody,
    ),
    Route(
        "POST",
        "/accounts/check",
        "Try an account before adding it",
        AccountCheck,
        lambda c, r: c.accounts.check(r.body.account(), r.body.secret),
        body=NewAccount,
    ),
    Route("GET", "/accounts/{name}", "One account", AccountView, lambda c, r: c.accounts.one(r.path["name"])),
    Route(
        "DELETE",
        "/accounts/{name}",
        "Stop filtering it",
        Done,
        lambda c, r: c.accounts.remove(r.path["name"], wipe=r.query.wipe),
        query=RemoveQuery,
    ),
    Route(
        "POST", "/accounts/{name}/update", "Change its settings", AccountView, _update, body=AccountChanges
    ),
    Route(
        "POST",
        "/accounts/{name}/mode",
        "Learning, suggesting, filtering, or as evidence allows",
        AccountView,
        lambda c, r: c.accounts.set_mode(r.path["name"], r.body.mode),
        body=ModeBody,
    ),
    Route(
        "POST",
        "/accounts/{name}/secret",
        "A new password",
        AccountView,
        lambda c, r: c.accounts.set_secret(r.path["name"], r.body.secret),
        body=SecretBody,
    ),
    Route(
        "POST",
        "/accounts/{name}/sign-in",
        "Begin OAuth",
        SignIn,
        lambda c, r: c.accounts.sign_in(r.path["name"]),
    ),
    Route(
        "POST",
        "/accounts/{name}/test",
        "Try it with the stored secret",
        AccountCheck,
        lambda c, r: c.accounts.test(r.path["name"]),
    ),
    Route(
        "POST",
        "/accounts/{name}/read",
        "First reading of the folders",
        Done,
        lambda c, r: c.accounts.first_reading(r.path["name"]),
    ),
    Route(
        "POST",
        "/accounts/{name}/go-on",
        "Release the brake",
        Done,
        lambda c, r: c.accounts.go_on(r.path["name"]),
    ),
    Route("GET", "/lists", "Always keep, always junk", tuple[ListEntry, ...], lambda c, r: c.lists.all()),
    Route(
        "POST",
        "/lists",
        "Add an address or domain",
        ListEntry,
        lambda c, r: c.lists.add(r.body.value, r.body.label, r.body.expires_at),
        body=ListBody,
    ),
    Route(
        "POST",
        "/lists/remove",
        "Take it off",
        Done,
        lambda c, r: c.lists.remove(r.body.value),
        body=ListValue,
    ),
    Route(
        "GET",
        "/labels",
        "The ledger, newest first",
        tuple[LabelRecord, ...],
        _labels_answer,
        query=LabelQuery,
    ),
    Route(
        "POST",
        "/labels",
        "Label a known mail",
        LabelRecord,
        lambda c, r: c.review.say(r.body.account, r.body.identity, r.body.label, LabelSource(r.body.source)),
        body=SetLabelBody,
    ),
    Route(
        "POST",
        "/labels/forget",
        "Take a label back, exactly",
        Done,
        lambda c, r: c.labels.forget(r.body.account, r.body.identity),
        body=WhichLabel,
    ),
    Route(
        "POST",
        "/labels/held",
        "Say of all that is held back, as it was so much at once, whether it was the person",
        Done,
        lambda c, r: c.labels.answer_held(r.body.mine, r.body.account),
        body=HeldBody,
    ),
    Route("GET", "/labels/export", "All labels", tuple[LabelRecord, ...], lambda c, r: c.labels.export()),
    Route(
        "POST",
        "/labels/import",
        "Add labels",
        Imported,
        lambda c, r: c.labels.take_over(r.body.labels),
        body=ImportBody,
    ),
    Route("GET", "/settings", "Every setting", tuple[SettingView, ...], lambda c, r: c.settings.all()),
    Route(
        "POST",
        "/settings",
        "Change settings",
        tuple[SettingView, ...],
        lambda c, r: c.settings.change(r.body.changes),
        body=SettingsBody,
    ),
    Route("POST", "/reload", "Read config.toml again", Done, lambda c, r: c.settings.read_again()),
    Route(
        "GET",
        "/events",
        "The log for people",
        tuple[EventRecord, ...],
        lambda c, r: c.events.newest(**_asked(r.query)),
        query=EventQuery,
    ),
    Route(
        "POST",
        "/try",
        "What would be said of this mail",
        Why,
        lambda c, r: c.mail.try_mail(r.body.raw),
        body=MailBody,
    ),
    Route(
        "POST",
        "/teach",
        "Learn from this mail",
        LabelRecord,
        lambda c, r: c.labels.teach_mail(r.body.raw, r.body.label, r.body.account),
        body=TeachBody,
    ),
    Route(
        "POST",
        "/identify",
        "The judgement of a mail by its Message-ID",
        Identified,
        lambda c, r: c.mail.identify(
            r.body.message_id,
            size=r.body.size,
            raw=r.body.raw,
            account=r.body.account,
            lies_in=r.body.lies_in,
        ),
        body=IdentifyBody,
    ),
    Route("POST", "/wipe", "Forget", Wiped, lambda c, r: c.wipe(r.body.what), body=WipeBody),
    Route(
        "POST",
        "/events/{id:int}/settle",
        "The person has seen to it",
        Done,
        lambda c, r: c.events.settle(r.path["id"]),
    ),
    Route("POST", "/stop", "End the daemon", Done, lambda c, r: c.stop()),
    Route("POST", "/open", "A one-time way into the pages", Opening, None),
    Route(
        "GET",
        "/stream",
        "Verdicts, progress and state as they happen",
        Happening,
        None,
        media="text/event-stream",
    ),
    Route("GET", "/openapi.json", "This document", dict[str, object], None),
)


def _asked(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


# Reading and answering ----------------------------------------------------------------------------


def error_answer(error: SpamdError) -> tuple[int, ErrorAnswer]:
    """What a person's error is in HTTP."""
    status = 400
    if isinstance(error, NotFound):
        status = 404
    elif isinstance(error, MailboxError):
        status = 502
    elif isinstance(error, StoreBusy):
        status = 503
    elif isinstance(error, DoneInPart):
        status = 409
    return status, ErrorAnswer(ErrorText(error.title, error.hint))


def _refusal(status: int, title: str, hint: str = "") -> JSONResponse:
    return JSONResponse(wire.to_json(ErrorAnswer(ErrorText(title, hint))), status)


def endpoint(route: Route, control: Control) -> Callable[[Request], Any]:
    """The Starlette endpoint of one row."""
    run = route.run
    assert run is not None

    async def answer(request: Request) -> Response:
        try:
            query = read_query(route.query, request) if route.query else None
            body = None
            if route.body is not None:
                if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
                    return _refusal(415, "The body must be JSON.", "Send Content-Type: application/json.")
                body = read_body(route.body, await request.body())
            if request.path_params.get("id", 0) > INTEGER_LIMIT:
                raise NotFound("There is no such thing.")
            call = Call(request.path_params, query, body)
            value = await run_in_threadpool(run, control, call)
        except SpamdError as error:
            status, told = error_answer(error)
            return JSONResponse(wire.to_json(told), status)
        return JSONResponse(wire.to_json(value))

    return answer


def read_body(cls: type[Any], raw: bytes) -> Any:
    """RequestError unless it is JSON of exactly this shape."""
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
    try:
        _check(data, 0)
        return wire.from_json(cls, data)
    except RecursionError:
        raise RequestError("The body is nested too deeply.") from None


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _check(data: object, depth: int) -> None:
    """Numbers and text that store and clock can take; nothing endless."""
    if depth > 8:
        raise RequestError("The body is nested too deeply.")
    if isinstance(data, str):
        try:
            data.encode("utf-8")
        except UnicodeEncodeError:
            raise RequestError("A text holds half a character (a lone surrogate).") from None
    elif isinstance(data, bool):
        return
    elif isinstance(data, int | float):
        _check_number(data)
    elif isinstance(data, list):
        for item in data:
            _check(item, depth + 1)
    elif isinstance(data, dict):
        for key, item in data.items():
            _check(key, depth + 1)
            _check(item, depth + 1)


def _check_number(number: int | float) -> None:
    limit = INTEGER_LIMIT if isinstance(number, int) else NUMBER_LIMIT
    if not -limit <= number <= limit:
        raise RequestError("A number is too large.")


def read_query(cls: type[Any], request: Request) -> Any:
    """The query string by the annotations of `cls`. RequestError for a wrong, unknown or doubled name."""
    hints = typing.get_type_hints(cls)
    values: dict[str, object] = {}
    for name, text in request.query_params.multi_items():
        if name not in hints or name in values:
            raise RequestError(f"The question {name[:60]!r} is not known here, or asked twice.")
        values[name] = _typed(hints[name], text, name)
    return wire.from_json(cls, values)


def _typed(hint: Any, text: str, name: str) -> object:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    try:
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if hint in (int, float):
            number = int(text) if hint is int else float(text)
            if not math.isfinite(number):
                raise ValueError(text)
            _check_number(number)
            return number
    except (KeyError, ValueError):
        raise RequestError(f"At {name!r}: this is not a {hint.__name__}.") from None
    _check(text, 0)
    return text


class Streams:
    """Open event streams. Lives on the server's loop; `Feed` calls from any thread."""

    def __init__(self, control: Control, limit: int, heartbeat: float = 15.0) -> None:
        self._control = control
        self._limit = limit
        self._heartbeat = heartbeat
        self._queues: set[asyncio.Queue[Happening | None]] = set()

    async def endpoint(self, request: Request) -> Response:
        if len(self._queues) >= self._limit:
            return _refusal(503, "Too many streams are open.", "Close some pages.")
        return StreamingResponse(
            self._events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def _events(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Happening | None] = asyncio.Queue()

        def put(happening: Happening) -> None:
            if queue.qsize() < 1000:  # a reader that sleeps loses news, not our memory
                queue.put_nowait(happening)

        def heard(happening: Happening) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(put, happening)

        self._queues.add(queue)
        forget = self._control.feed.listen(heard)
        try:
            yield b": open\n\n"
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        happening = await queue.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if happening is None:
                    return
                text = json.dumps(wire.to_json(happening))
                yield f"event: {happening.kind}\ndata: {text}\n\n".encode()
        finally:
            forget()
            self._queues.discard(queue)

    def close(self) -> None:
        """End all streams (on the loop's thread): the server stops."""
        for queue in self._queues:
            queue.put_nowait(None)


def routes(control: Control, access: Access, streams: Streams) -> list[StarletteRoute]:
    """All routes of the API."""

    async def open_pages(request: Request) -> Response:
        return JSONResponse(wire.to_json(Opening(f"/open?code={access.new_code()}")))

    async def openapi(request: Request) -> Response:
        return JSONResponse(document(ROUTES))  # made when asked for: it takes .7 MB

    special = {"/open": open_pages, "/stream": streams.endpoint, "/openapi.json": openapi}
    return [
        StarletteRoute(
            f"/api/v1{route.path}",
            special[route.path] if route.run is None else endpoint(route, control),
            methods=[route.method],
        )
        for route in ROUTES
    ]
