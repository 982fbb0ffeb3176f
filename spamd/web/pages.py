"""The pages for people, rendered here. They work without JavaScript, which only makes them quicker.

A page is one method that asks `control`, and one template. A form posts to `/do/...`, which answers with the
page it came from (303), so that reloading never does a thing twice.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from spamd.answers import AccountCheck, SignIn
from spamd.control import Control
from spamd.control.telling import source_word
from spamd.domain import (
    Account,
    AccountName,
    AuthMethod,
    FolderName,
    Identity,
    Label,
    LabelSource,
    Mode,
    TlsMode,
    Verdict,
)
from spamd.errors import DoneInPart, NotFound, RequestError, SpamdError
from spamd.reasons import clue, likelihood
from spamd.web import charts, shown
from spamd.web.access import Access, Refused, too_many_codes
from spamd.web.pairing import is_own

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
LABELS_SHOWN = 200  # on a page
NAVIGATION = (
    ("/", "Today"),
    ("/review", "Review"),
    ("/search", "Search"),
    ("/trends", "Trends"),
    ("/model", "Model"),
    ("/accounts", "Accounts"),
    ("/lists", "Lists"),
    ("/try", "Try it"),
    ("/settings", "Settings"),
    ("/log", "Log"),
)
SETTING_GROUPS = (
    ("Filtering", ("promise", "hold_labels")),
    ("What is kept, and where", ("display", "keep_days", "secrets")),
    ("At night", ("night_start", "night_end", "night_min_labels", "on_battery", "keep_models")),
    ("Notices on the desktop", ("notifications", "quiet_hours")),
    ("Connections", ("look_up_servers", "oauth_file", "daily_bytes")),
    ("Log", ("log_level",)),
)
CHART_HEADERS = {
    # A picture's own colours are in it; opened by itself it still may load and run nothing.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
FILTERS: tuple[Callable[..., Any], ...] = (
    shown.one_line,
    shown.raw_text,
    shown.full_time,
    shown.percent,
    shown.at_most,
    shown.one_in,
    shown.number,
    shown.verdict_word,
    shown.label_word,
    source_word,
    shown.mode_word,
    shown.phase_word,
    shown.phase_tone,
    shown.worst_tone,
    clue,
    likelihood,
    shown.figure_word,
    shown.effect,
    shown.odds,
)
Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """Told once, on the next page."""

    tone: str  # "good" or "bad"
    text: str
    hint: str = ""
    form: str = ""  # where the form goes that was refused
    typed: Form = field(default_factory=dict)  # in it, to be mended; never a password


@dataclass(frozen=True, slots=True)
class Tried:
    """What setting up an account found so far, so that it need not be typed or chosen again."""

    secret: str | None = None  # not refused yet
    folders: tuple[FolderName, ...] = ()  # to choose Junk from


class Pages:
    """Pages of one daemon. Methods run in threads; what they keep between requests is per browser session."""

    def __init__(self, control: Control, access: Access, cookie: str) -> None:
        self._control = control
        self._access = access
        self._cookie = cookie
        self._said: dict[str, Said] = {}
        self._checks: dict[str, AccountCheck] = {}
        self._tried: dict[str, Tried] = {}

    @functools.cached_property
    def _templates(self) -> Environment:
        # Only when the first page is asked for: most of the time nobody looks, and this takes 2 MB.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        made = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.tests["of_public_mail"] = lambda name: name.startswith(("cold.", "measured.", "modern"))
        made.filters.update({one.__name__: one for one in FILTERS})
        made.globals["strength"] = shown.strength
        made.globals["navigation"] = NAVIGATION
        made.globals["Mode"] = Mode
        made.globals["Label"] = Label
        made.globals["Verdict"] = Verdict
        return made

    def routes(self) -> list[BaseRoute]:
        pages: dict[str, Callable[[Request], Response]] = {
            "/": self.today,
            "/review": self.review,
            "/labels": self.labels,
            "/search": self.search,
            "/similar/{id:int}": self.similar,
            "/why/{id:int}": self.why,
            "/trends": self.trends,
            "/charts/{name}.svg": self.chart,
            "/model": self.model,
            "/accounts": self.accounts,
            "/accounts/{name}": self.account,
            "/setup": self.setup,
            "/lists": self.lists,
            "/try": self.try_it,
            "/settings": self.settings,
            "/log": self.log,
            "/undo": self.undo,
            "/open": self.open,
        }
        deeds: dict[str, Callable[[Request, Form], Response]] = {
            "/do/answer": self.do_answer,
            "/do/undo-move": self.do_undo_move,
            "/do/undo": self.do_undo,
            "/do/forget-label": self.do_forget_label,
            "/do/held": self.do_held,
            "/do/train": self.do_train,
            "/do/roll-back": self.do_roll_back,
            "/do/reset-model": self.do_reset_model,
            "/do/pause": self.do_pause,
            "/do/resume": self.do_resume,
            "/do/go-on": self.do_go_on,
            "/do/mode": self.do_mode,
            "/do/account": self.do_account,
            "/do/secret": self.do_secret,
            "/do/sign-in": self.do_sign_in,
            "/do/test": self.do_test,
            "/do/read": self.do_read,
            "/do/remove": self.do_remove,
            "/do/list": self.do_list,
            "/do/unlist": self.do_unlist,
            "/do/teach": self.do_teach,
            "/do/settings": self.do_settings,
            "/do/settle": self.do_settle,
            "/do/wipe": self.do_wipe,
            "/setup": self.do_setup,
            "/try": self.do_try,
        }
        return [
            *(Route(path, page, methods=["GET"]) for path, page in pages.items()),
            *(Route(path, self._deed(deed), methods=["POST"]) for path, deed in deeds.items()),
        ]

    # -- pages ------------------------------------------------------------------------------

    def open(self, request: Request) -> Response:
        """A one-time code becomes a session. No redirect: a Strict cookie might not go along.

        Where a browser is started with the link, every user of the computer can read it in the list of processes.
        """
        if request.client is None or not is_own(request.client, request.url.port or 0):
            raise Refused(
                403, "Another user's program may not open spamd.", "Open it as the user whose filter this is."
            )
        too_many_codes(self._access)
        session = self._access.redeem(request.query_params.get("code", ""))
        if session is None:
            self._access.bad_try()
            raise Refused(
                401,
                "This link was used already, or is too old.",
                "Open it anew: `spamdctl open`, or the icon.",
            )
        to = request.query_params.get("to", "").strip("/")
        known = f"/{to}" in dict(NAVIGATION) or to in ("setup", "labels", "undo")
        target = f"/{to}" if known or re.fullmatch(r"why/[0-9]{1,18}", to) else "/"
        response = HTMLResponse(self._templates.get_template("open.html").render(target=target))
        response.set_cookie(self._cookie, session, httponly=True, samesite="strict", path="/")
        return response

    def today(self, request: Request) -> Response:
        status = self._control.status()
        if not status.accounts:
            return RedirectResponse("/setup", 303)
        show = request.query_params.get("show", "all")
        before = _whole(request.query_params.get("before"))
        mails = self._control.mail.recent(
            verdict={"junk": Verdict.JUNK, "unsure": Verdict.UNSURE, "good": Verdict.KEEP}.get(show),
            before_id=before,
            limit=40,
        )
        waiting = {view.account.name for view in status.accounts if view.state.mode is not Mode.FILTERING}
        shadows = (
            [one for one in self._control.figures.shadow() if one.account in waiting and one.judged]
            if waiting
            else []
        )
        return self._page(
            request,
            "today.html",
            status=status,
            mails=mails,
            show=show,
            page_size=40,
            newest=before is None,  # only there new mail belongs
            shadows=shadows,
        )

    def review(self, request: Request) -> Response:
        items = self._control.review.items(30)
        return self._page(
            request,
            "review.html",
            items=items,
            waiting=self._control.review.waiting(),
            held_back=len(self._control.labels.held_back()),
        )

    def labels(self, request: Request) -> Response:
        query = request.query_params
        source = _one_of(LabelSource, query.get("source", ""))
        held = True if query.get("held") else None
        before = _whole(query.get("before"))
        rows = self._control.labels.newest(source=source, held=held, before_id=before, limit=LABELS_SHOWN)
        mails = {row.id: self._control.mail.of(row.account, row.identity) for row in rows}
        return self._page(
            request,
            "labels.html",
            rows=rows,
            mails=mails,
            sources=list(LabelSource),
            source=source,
            held=held,
            page_size=LABELS_SHOWN,
            newest=before is None,
        )

    def search(self, request: Request) -> Response:
        query = request.query_params
        text, since, until = query.get("q", ""), query.get("since", ""), query.get("until", "")
        asked = bool(text.strip() or since or until)
        mails = (
            self._control.mail.search(
                text,
                since=shown.day_start(since),
                until=shown.day_end(until),
                before_id=_whole(query.get("before")),
                limit=50,
            )
            if asked
            else ()
        )
        return self._page(
            request,
            "search.html",
            text=text,
            since=since,
            until=until,
            mails=mails,
            asked=asked,
            page_size=50,
        )

    def similar(self, request: Request) -> Response:
        mail = self._control.mail.one(request.path_params["id"])
        found = self._control.mail.similar(mail.id, 30)
        return self._page(request, "similar.html", mail=mail, found=found)

    def why(self, request: Request) -> Response:
        why = self._control.mail.why(request.path_params["id"])
        assert why.judgement is not None
        label = self._control.labels.of(why.judgement.account, why.judgement.identity)
        return self._page(request, "why.html", why=why, mail=why.judgement, label=label)

    def trends(self, request: Request) -> Response:
        days = _whole(request.query_params.get("days")) or 30
        return self._page(request, "trends.html", trends=self._control.figures.trends(days), days=days)

    def chart(self, request: Request) -> Response:
        days = _whole(request.query_params.get("days")) or 30
        picture = charts.draw(request.path_params["name"], self._control.figures.trends(days))
        if picture is None:
            raise NotFound("There is no such picture.")
        return Response(picture, media_type="image/svg+xml", headers=CHART_HEADERS)

    def model(self, request: Request) -> Response:
        models = self._control.models.all()
        by_id = {str(card.id): card for card in models.cards}
        pair = [by_id.get(request.query_params.get(name, "")) for name in ("a", "b")]
        return self._page(request, "model.html", models=models, pair=pair)

    def accounts(self, request: Request) -> Response:
        views = self._control.accounts.all()
        progress = self._control.progress()
        return self._page(request, "accounts.html", views=views, progress=progress)

    def account(self, request: Request) -> Response:
        view = self._control.accounts.one(request.path_params["name"])
        progress = [one for one in self._control.progress() if one.account == view.account.name]
        check = self._checks.pop(self._session(request), None)
        return self._page(
            request,
            "account.html",
            secret_place=self._control.settings.secret_place(),
            view=view,
            progress=progress,
            check=check,
            modes=list(Mode),
            shadow=self._control.figures.shadow(account=view.account.name)[0],
        )

    def setup(self, request: Request) -> Response:
        self._tried.pop(self._session(request), None)
        return self._setup_page(request, {})

    def lists(self, request: Request) -> Response:
        return self._page(request, "lists.html", entries=self._control.lists.all())

    def try_it(self, request: Request) -> Response:
        return self._page(request, "try.html", why=None, raw="")

    def settings(self, request: Request) -> Response:
        options = {option.name: option for option in self._control.settings.all()}
        known = {name for _, names in SETTING_GROUPS for name in names}
        groups = [(title, [options[name] for name in names]) for title, names in SETTING_GROUPS]
        groups[-1][1].extend(option for name, option in options.items() if name not in known)
        return self._page(
            request, "settings.html", groups=groups, secret_place=self._control.settings.secret_place()
        )

    def log(self, request: Request) -> Response:
        query = request.query_params
        since, until = query.get("since", ""), query.get("until", "")
        events = self._control.events.newest(
            limit=100,
            before_id=_whole(query.get("before")),
            since=shown.day_start(since),
            until=shown.day_end(until),
        )
        return self._page(request, "log.html", events=events, since=since, until=until, page_size=100)

    def undo(self, request: Request) -> Response:
        """The preview is a GET: it changes nothing."""
        query = request.query_params
        since, model, account = query.get("since", ""), query.get("model", ""), query.get("account", "")
        plan = None
        if since or model:
            at = shown.moment(since)
            if since and at is None:
                raise RequestError("This is not a date and time.")
            plan = self._control.moves.undo(
                since=at, model_id=model or None, account=account or None, dry_run=True
            )
        return self._page(
            request,
            "undo.html",
            plan=plan,
            since=since,
            model=model,
            account=account,
            asked="since" in query,
            cards=self._control.models.all().cards,
            views=self._control.accounts.all(),
        )

    # -- deeds ------------------------------------------------------------------------------

    def do_answer(self, request: Request, form: Form) -> Response:
        answered = self._control.review.answer(_id(form), _label(form))
        return self._back(request, form, Said("good", answered.text))

    def do_undo_move(self, request: Request, form: Form) -> Response:
        answered = self._control.moves.undo_one(_id(form))
        return self._back(request, form, Said("good", answered.text))

    def do_undo(self, request: Request, form: Form) -> Response:
        at = shown.moment(form.get("since", ""))
        plan = self._control.moves.undo(
            since=at, model_id=form.get("model") or None, account=form.get("account") or None, dry_run=False
        )
        return self._to(request, "/undo", Said("good", plan.text))

    def do_forget_label(self, request: Request, form: Form) -> Response:
        done = self._control.labels.forget(form.get("account", ""), Identity(form.get("identity", "")))
        return self._back(request, form, Said("good", done.text))

    def do_held(self, request: Request, form: Form) -> Response:
        mine = form.get("mine")
        if mine not in ("yes", "no"):
            raise RequestError("Say whether it was you.")
        done = self._control.labels.answer_held(mine == "yes")
        return self._back(request, form, Said("good", done.text))

    def do_train(self, request: Request, form: Form) -> Response:
        done = self._control.models.train(from_scratch=form.get("from_scratch") == "yes")
        return self._to(request, "/model", Said("good", done.text))

    def do_roll_back(self, request: Request, form: Form) -> Response:
        card = self._control.models.roll_back(form.get("id") or None)
        return self._to(request, "/model", Said("good", f"{card.id} is in use now."))

    def do_reset_model(self, request: Request, form: Form) -> Response:
        card = self._control.models.reset()
        return self._to(request, "/model", Said("good", f"The shipped model {card.id} is in use now."))

    def do_pause(self, request: Request, form: Form) -> Response:
        seconds = {"hour": 3600.0, "day": 86400.0}.get(form.get("long", ""))
        done = self._control.accounts.pause(account=form.get("account") or None, seconds=seconds)
        return self._back(request, form, Said("good", done.text))

    def do_resume(self, request: Request, form: Form) -> Response:
        return self._back(
            request, form, Said("good", self._control.accounts.resume(form.get("account") or None).text)
        )

    def do_go_on(self, request: Request, form: Form) -> Response:
        return self._back(
            request, form, Said("good", self._control.accounts.go_on(form.get("account", "")).text)
        )

    def do_mode(self, request: Request, form: Form) -> Response:
        view = self._control.accounts.set_mode(form.get("account", ""), _one_of(Mode, form.get("mode", "")))
        return self._back(request, form, Said("good", view.headline))

    def do_account(self, request: Request, form: Form) -> Response:
        from spamd import settings

        changes = {
            name: None if form[name].strip() == "" else settings.account_value_from_text(name, form[name])
            for name in (
                *("junk", "unsure_folder", "gmail_label", "max_moves_per_hour"),
                *("wait_seconds", "stamp", "promise"),
            )
            if name in form
        }
        self._control.accounts.update(form.get("account", ""), changes)
        return self._back(request, form, Said("good", "Saved."))

    def do_secret(self, request: Request, form: Form) -> Response:
        name, secret = form.get("account", ""), form.get("secret", "")
        check = self._control.accounts.test(name, secret) if secret else None
        if check is not None and check.wrong == "sign-in":
            return self._back(
                request, form, Said("bad", check.text, f"{check.hint} Nothing was stored.".strip())
            )
        self._control.accounts.set_secret(name, secret)
        untried = "" if check is None or check.ok else f"It could not be tried yet: {check.text}"
        return self._back(request, form, Said("good", "The new password is stored.", untried))

    def do_sign_in(self, request: Request, form: Form) -> Response:
        step = self._control.accounts.sign_in(form.get("account", ""))
        return self._page(request, "sign_in.html", step=step)

    def do_test(self, request: Request, form: Form) -> Response:
        name = form.get("account", "")
        self._checks[self._session(request)] = self._control.accounts.test(name)
        return self._to(request, f"/accounts/{urllib.parse.quote(name)}", None)

    def do_read(self, request: Request, form: Form) -> Response:
        done = self._control.accounts.first_reading(form.get("account", ""))
        return self._back(request, form, Said("good", done.text))

    def do_remove(self, request: Request, form: Form) -> Response:
        if form.get("sure") != "yes":
            return self._back(request, form, Said("bad", "Nothing was removed.", "Tick the box to confirm."))
        try:
            done = self._control.accounts.remove(form.get("account", ""), wipe=form.get("wipe") == "yes")
        except DoneInPart as error:  # its own page is gone
            return self._to(request, "/accounts", Said("bad", error.title, error.hint))
        return self._to(request, "/accounts", Said("good", done.text))

    def do_list(self, request: Request, form: Form) -> Response:
        expires = shown.day_end(form.get("expires", ""))
        entry = self._control.lists.add(form.get("value", ""), _label(form), expires)
        word = "always junk" if entry.label is Label.SPAM else "always kept"
        return self._back(request, form, Said("good", f"{entry.value}: {word}."))

    def do_unlist(self, request: Request, form: Form) -> Response:
        done = self._control.lists.remove(form.get("value", ""))
        return self._back(request, form, Said("good", done.text))

    def do_teach(self, request: Request, form: Form) -> Response:
        self._control.labels.teach_mail(_mail_bytes(form.get("raw", "")), _label(form))
        return self._to(request, "/try", Said("good", "Learned. The next mail like it is judged by it."))

    def do_try(self, request: Request, form: Form) -> Response:
        raw = form.get("raw", "")
        why = self._control.mail.try_mail(_mail_bytes(raw))
        return self._page(request, "try.html", why=why, raw=raw)

    def do_settings(self, request: Request, form: Form) -> Response:
        now = {option.name: option.value for option in self._control.settings.all()}
        changes = {name: text for name, text in form.items() if name in now and text.strip() != now[name]}
        if changes:
            self._control.settings.change(changes)
        text = "Saved." if changes else "Nothing was changed."
        return self._to(request, "/settings", Said("good", text))

    def do_settle(self, request: Request, form: Form) -> Response:
        return self._back(request, form, Said("good", self._control.events.settle(_id(form)).text))

    def do_wipe(self, request: Request, form: Form) -> Response:
        if form.get("sure") != "yes":
            return self._back(request, form, Said("bad", "Nothing was wiped.", "Tick the box to confirm."))
        return self._to(request, "/settings", Said("good", self._control.wipe(form.get("what", "")).text))

    def do_setup(self, request: Request, form: Form) -> Response:
        """Address, then server and password, then (tested) the account: each step shows the next."""
        step, session = form.get("step", ""), self._session(request)
        values: dict[str, Any] = {**form, "secret": ""}  # a password is never sent back to the browser
        check: AccountCheck | None = None
        try:
            if step == "find":
                self._tried.pop(session, None)
                guesses = self._control.accounts.find_servers(
                    form.get("address", ""), look_up=form.get("look_up") == "yes"
                )
                return self._setup_page(request, values, guesses=guesses)
            before = self._tried.get(session, Tried())
            # A password that was not refused need not be typed again when something else is wrong; typed before another
            # way was chosen it is kept nowhere.
            browser = form.get("auth") == AuthMethod.OAUTH.value
            secret = None if browser else form.get("secret") or before.secret
            self._keep_tried(session, replace(before, secret=secret))
            account = _new_account(form)
            check = self._control.accounts.check(account, secret)
            self._keep_tried(
                session,
                Tried(
                    None if check.wrong == "sign-in" else secret,
                    check.folders if check.ok else before.folders,
                ),
            )
            if check.browser:  # no passwords here: the way that works is chosen, and asked for
                values |= {"auth": AuthMethod.OAUTH.value, "oauth_provider": check.browser}
            if not check.ok and account.auth is AuthMethod.PASSWORD:
                return self._setup_page(request, values, check=check)
            not_there = account.junk is not None and account.junk not in check.folders  # on this server
            if check.ok and (not_there or ("junk" not in form and check.junk_folder is None)):
                return self._setup_page(request, values, check=check)  # which is Junk? Perhaps none yet
            self._control.accounts.add(account, secret)
            self._tried.pop(session, None)
            step_away = self._sign_in_new(account.name) if account.auth is AuthMethod.OAUTH else None
        except SpamdError as error:
            # With what worked: else the choice of Junk would be gone.
            worked = check if check is not None and check.ok else None
            return self._setup_page(
                request, values, check=worked, said=Said("bad", error.title, error.hint), status=400
            )
        notes = self._start_with_session() if form.get("start") == "yes" else ()
        if step_away is not None:
            return self._page(request, "sign_in.html", step=step_away)
        if form.get("read") == "yes":
            self._control.accounts.first_reading(account.name)
        return self._to(
            request,
            f"/accounts/{account.name}",
            Said("good", f"{account.name} is set up. {check.text}", " ".join((*check.remarks, *notes))),
        )

    def _sign_in_new(self, name: AccountName) -> SignIn:
        """The provider's page for an account that was just added; without one the account goes again."""
        try:
            return self._control.accounts.sign_in(name)
        except SpamdError:
            with contextlib.suppress(DoneInPart):  # it never had a grant that could be left
                self._control.accounts.remove(name)
            raise

    def _keep_tried(self, session: str, tried: Tried) -> None:
        """In memory only, for this browser, until the account is added or another is begun."""
        self._tried.pop(session, None)
        if tried != Tried():
            while len(self._tried) >= 10:
                self._tried.pop(next(iter(self._tried)), None)
            self._tried[session] = tried

    def _start_with_session(self) -> tuple[str, ...]:
        """From the next sign-in on: now it runs. What could not be done is a note, for the account stands."""
        from spamd import service

        try:
            notes = service.install(self._control.paths, start=False).notes
        except SpamdError as error:
            return (error.title, error.hint)
        return notes or ("It starts with your session from now on.",)

    def _may_offer_start(self) -> bool:
        from spamd import service

        try:
            return not service.status(self._control.paths).installed
        except SpamdError:
            return False

    # -- inside ------------------------------------------------------------------------------

    def _setup_page(
        self, request: Request, values: Mapping[str, Any], *, status: int = 200, **more: Any
    ) -> Response:
        first = not self._control.accounts.all()
        tried = self._tried.get(self._session(request), Tried())
        context = {
            "guesses": None,
            "check": None,
            "said": None,
            "kept": tried.secret is not None,
            "folders": tried.folders,
            "offer_start": self._may_offer_start(),
            **more,
        }
        return self._page(request, "setup.html", status_code=status, values=values, first=first, **context)

    def error(self, request: Request, status: int, title: str, hint: str) -> Response:
        """For what went wrong on a page: in its frame, where that can still be drawn."""
        try:
            return self._page(request, "error.html", status_code=status, title=title, hint=hint)
        except SpamdError:
            from spamd.web.access import refused_response

            return refused_response(request.url.path, Refused(status, title, hint))

    def _page(self, request: Request, template: str, status_code: int = 200, **context: Any) -> Response:
        now = time.time()
        said = context.pop("said", None)
        if said is None and "x-look-again" not in request.headers:  # a page's own look is no visit
            said = self._said.pop(self._session(request), None)
        path = request.url.path
        html = self._templates.get_template(template).render(
            {
                "path": path,
                "here": path
                + (f"?{request.url.query}" if request.url.query and request.method == "GET" else ""),
                "said": said,
                "typed_in": lambda form: said.typed if said and said.form == form else {},
                "waiting_count": self._control.review.waiting(),
                "now": now,
                "when": lambda at: shown.when(at, now),
                "ago": lambda at: shown.ago(at, now),
                **context,
            }
        )
        return HTMLResponse(html, status_code)

    def _deed(self, deed: Callable[[Request, Form], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def run(request: Request) -> Response:
            form = read_form(request, await request.body())
            try:
                return await run_in_threadpool(deed, request, form)
            except SpamdError as error:
                if form.get("back"):
                    typed = {
                        name: text for name, text in form.items() if name != "secret" and len(text) <= 300
                    }
                    refused = Said("bad", error.title, error.hint, request.url.path, typed)
                    return self._back(request, form, refused)
                raise

        return run

    def _session(self, request: Request) -> str:
        return request.cookies.get(self._cookie, "")

    def _back(self, request: Request, form: Form, said: Said) -> Response:
        """To the page the form was on: a path of ours, never another address."""
        back = form.get("back", "/")
        parts = urllib.parse.urlsplit(back)
        ours = back.startswith("/") and not back.startswith(("//", "/\\", "/do/")) and not parts.netloc
        return self._to(request, back if ours and back.isascii() and back.isprintable() else "/", said)

    def _to(self, request: Request, path: str, said: Said | None) -> Response:
        if said is not None:
            if len(self._said) > 100:
                self._said.clear()
            self._said[self._session(request)] = said
        return RedirectResponse(path, 303)


def read_form(request: Request, body: bytes) -> dict[str, str]:
    """A plain HTML form (urlencoded, no files). RequestError for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" and body:
        raise RequestError("This is not a form.")
    try:
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="replace",
            max_num_fields=200,
        )
    except ValueError:
        raise RequestError("This form cannot be read.") from None
    return dict(pairs)


def _mail_bytes(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8", "replace")


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _id(form: Form) -> int:
    number = _whole(form.get("id"))
    if number is None:
        raise RequestError("It is not said which mail.")
    return number


def _label(form: Form) -> Label:
    label: Label | None = _one_of(Label, form.get("label", ""))
    if label is None:
        raise RequestError("It is not said whether it is junk.")
    return label


def _one_of(kind: type[Any], text: str) -> Any:
    return kind(text) if text in [one.value for one in kind] else None


def _new_account(form: Form) -> Account:
    port = form.get("port", "").strip() or "0"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise RequestError("The port is a number up to 65535.")
    return Account(
        name=AccountName(form.get("name", "").strip()),
        host=form.get("host", "").strip(),
        port=int(port),
        user=form.get("user", "").strip(),
        tls=_one_of(TlsMode, form.get("tls", "")) or TlsMode.IMPLICIT,
        auth=_one_of(AuthMethod, form.get("auth", "")) or AuthMethod.PASSWORD,
        oauth_provider=form.get("oauth_provider", "").strip(),
        junk=FolderName(form["junk"].strip()) if form.get("junk", "").strip() else None,
    )
