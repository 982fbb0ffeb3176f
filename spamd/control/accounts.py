"""The accounts: how each is doing, added and changed, signed in to, paused, gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from spamd import settings
from spamd.answers import AccountCheck, AccountPhase, AccountState, AccountView, Done, ServerGuess, SignIn
from spamd.control.feed import Feed
from spamd.control.kept import Kept
from spamd.control.settings import SettingsNow
from spamd.control.telling import YEAR, evidence_told, paused_words, short
from spamd.control.wiping import Wiping
from spamd.domain import Account, AccountName, AuthMethod, Mode, SourceKind
from spamd.errors import (
    CredentialError,
    DoneInPart,
    NotFound,
    RequestError,
    SecretMissing,
    SignInError,
    SpamdError,
    StoreError,
)
from spamd.mailbox.quirks import GMAIL
from spamd.opening import end_sign_in, forget_lock, forget_secret

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.paths import Paths
    from spamd.store.database import Store

DAY = 86400.0
NEVER_SIGNED_IN = "never-signed-in:"
"""State of an account that was added without a secret, before its first sign-in with the browser."""


BY_HAND = frozenset(
    {"name", "kind", "path", "password_command", "ca_file", "host", "port", "tls", "auth", "oauth_provider"}
)
"""Settings of an account that name a file or a command, or say whom its stored password is told."""


class Accounts:
    """Of one daemon."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        paths: Paths,
        settings_now: SettingsNow,
        wiping: Wiping,
        feed: Feed,
        kept: Kept,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._engine = engine
        self._paths = paths
        self._settings = settings_now
        self._wiping = wiping
        self._feed = feed
        self._kept = kept
        self._clock = clock

    def all(self) -> tuple[AccountView, ...]:
        """With thresholds as they are told, as all that leaves here."""
        states = {state.name: state for state in self._engine.account_states()}
        since = self._clock() - 30 * DAY
        views = []
        for account in self._settings.now().accounts:
            state = states.get(account.name) or AccountState(account.name, AccountPhase.STARTING)
            state = replace(state, evidence=evidence_told(state.evidence))
            judged = self._kept.remember(
                f"counts {account.name}", 5.0, partial(self._store.counts, account.name, since)
            )
            views.append(
                AccountView(account, state, dict(judged), account_headline(account, state, self._clock()))
            )
        return tuple(views)

    def one(self, name: str) -> AccountView:
        for view in self.all():
            if view.account.name == name:
                return view
        raise NotFound(
            f"There is no account called {short(name)!r}.",
            "The Accounts page and `spamdctl account list` show them.",
        )

    def met(self, name: str) -> AccountName:
        """An account that is here, or of which something is kept. NotFound: told as empty, or wiped, a slip would pass."""
        account, store = AccountName(name), self._store
        if self._settings.now().account(name) is None and not (
            store.judgements(account=account, limit=1)
            or store.labels(account, limit=1)
            or store.cursors(account)
        ):
            self.one(name)
        return account

    def known(self, name: str) -> bool:
        return self._settings.now().account(name) is not None

    def first(self) -> AccountName:
        accounts = self._settings.now().accounts
        if not accounts:
            raise RequestError(
                "There is no account yet.", "Add one first: what is learned belongs to an account."
            )
        return accounts[0].name

    def find_servers(self, address: str, *, look_up: bool = False) -> tuple[ServerGuess, ...]:
        address = address.strip()
        name, at, domain = address.rpartition("@")
        if not (name and at and "." in domain) or len(address) > 254 or any(c.isspace() for c in address):
            raise RequestError("This is not a mail address.", "It looks like name@example.org.")
        return tuple(self._engine.find_servers(address, look_up=look_up))

    def check(self, account: Account, secret: str | None) -> AccountCheck:
        """Try an account that is not added yet."""
        self._check_new(account)
        return self._engine.check_account(account, secret)

    def test(self, name: str, secret: str | None = None) -> AccountCheck:
        """Try an account that is there, with its stored secret or with a new one."""
        return self._engine.check_account(self.one(name).account, secret)

    def add(self, account: Account, secret: str | None) -> AccountView:
        """The secret goes to the keyring first: an account without one would only fail."""
        with self._settings.changing:
            self._check_new(account)
            if secret:
                self._settings.vault().set(account.name, secret)
            elif account.auth is AuthMethod.OAUTH:
                self._store.set_state(f"{NEVER_SIGNED_IN}{account.name}", str(self._clock()))
            settings.add_account(self._settings.file, account)
        return self._changed(account.name, "was added")

    def set_secret(self, name: str, secret: str) -> AccountView:
        if not secret:
            raise RequestError("The password is empty.", "Type the one that your mail provider knows.")
        self._settings.vault().set(self.one(name).account.name, secret)
        return self._changed(name, "has a new password")

    def update(self, name: str, changes: Mapping[str, object]) -> AccountView:
        """Change settings of an account; None takes one back to its default. RequestError for those `BY_HAND`."""
        self.one(name)
        forbidden = sorted(BY_HAND & set(changes))
        if forbidden:
            raise RequestError(
                f"{', '.join(forbidden)} cannot be changed from here: paths, commands, and where a password goes are named by hand.",
                f"In a terminal: spamdctl account set {name} {forbidden[0]}=...",
            )
        with self._settings.changing:
            settings.update_account(self._settings.file, name, **changes)
        return self._changed(name, "was changed")

    def set_mode(self, name: str, mode: Mode | None) -> AccountView:
        """None: as the evidence allows."""
        view = self.update(name, {"mode": mode})
        self._store.add_event(
            "mode", f"Mode set to {mode.value if mode else 'automatic'}.", account=view.account.name
        )
        return view

    def remove(self, name: str, *, wipe: bool = False) -> Done:
        """Stop filtering it. wipe: forget all that was learned from it, too.

        DoneInPart: it is removed, but its password, its grant at the provider or what was learned is still there.
        """
        account = self.one(name).account
        text = f"The account {account.name} was removed. No mail was touched."
        left: dict[str, SpamdError] = {}
        grant = ""
        with self._settings.changing:
            settings.remove_account(self._settings.file, name)
            if account.kind is SourceKind.IMAP:  # else it has no password
                try:
                    grant = forget_secret(account, self._settings.vault())
                except CredentialError as exc:
                    left["Its password could not be removed"] = exc
        self._engine.reload_settings()
        self._kept.after_change()
        if grant:  # nothing uses it any more
            try:
                end_sign_in(account, grant, self._paths)
            except SignInError as exc:
                left["Its sign-in could not be ended"] = exc
        forget_lock(account, self._paths)
        try:
            self._engine.forget_pause(account.name)
            self._store.set_state(f"{NEVER_SIGNED_IN}{account.name}", "")
            self._store.add_event("account", f"Account {account.name} was removed.")
            if wipe:
                self._wiping.wipe(f"account:{account.name}")
        except StoreError as exc:
            left[
                "What was learned of it could not be wiped for good" if wipe else "It could not be noted"
            ] = exc
        self._feed.publish("state", {"account": account.name})
        if left:
            raise DoneInPart.after(text, left)
        return Done(text)

    def sign_in(self, name: str) -> SignIn:
        return self._engine.sign_in(self.one(name).account)

    def sign_in_ended(self, name: AccountName) -> None:
        """With or without a grant. An account that was added to be signed in to, and never was, goes again: it would only
        ask for it for ever.
        """
        key = f"{NEVER_SIGNED_IN}{name}"
        if not self._store.state(key):
            return
        try:
            self._settings.vault().get(name)
        except SecretMissing:
            if self._settings.now().account(name) is not None:
                with contextlib.suppress(DoneInPart):  # it is gone, and nothing was learned of it
                    self.remove(name)
        except CredentialError:
            return  # a locked keyring says nothing
        else:
            self._store.set_state(key, "")

    def end_sign_ins(self) -> None:
        """At the start: those that an earlier program had begun. Nobody listens for what the provider says to it."""
        for account in self._settings.now().accounts:
            self.sign_in_ended(account.name)

    def pause(
        self, *, account: str | None = None, seconds: float | None = None, until: float | None = None
    ) -> Done:
        name = self.one(account).account.name if account else None
        if seconds is not None:
            if not 0 < seconds <= YEAR:
                raise RequestError("A pause is between a second and a year.", 'Such as "1h" or "2 days".')
            until = self._clock() + seconds
        elif until is not None:
            if until <= self._clock():
                raise RequestError("This time is over already.", "Choose one that is to come.")
            if not until <= self._clock() + YEAR:
                raise RequestError("A pause is a year at most.", "Without an end it lasts until you resume.")
        self._engine.pause(name, until)
        self._said(name, "Paused.")
        return Done(f"{paused_words(until, self._clock())}. New mail stays where it is.")

    def resume(self, account: str | None = None) -> Done:
        name = self.one(account).account.name if account else None
        self._engine.resume(name)
        self._said(name, "Resumed.")
        return Done("Filtering goes on.")

    def go_on(self, account: str) -> Done:
        name = self.one(account).account.name
        self._engine.go_on(name)
        self._said(name, "The brake was released, because the person looked at it.")
        return Done("The brake is released.")

    def wake(self, account: str | None = None) -> Done:
        self._engine.wake(self.one(account).account.name if account else None)
        return Done("Looking for new mail now.")

    def first_reading(self, account: str) -> Done:
        self._engine.start_first_reading(self.one(account).account.name)
        return Done("Reading of the existing folders has begun.")

    def _check_new(self, account: Account) -> None:
        settings.check_account_name(account.name)
        settings.check_account(account)
        now = self._settings.now()
        if (twin := now.same_mailbox(account)) is not None:
            raise RequestError(
                f"This mailbox is looked after already, as {twin.name}.",
                "A new password is set on its page.",
            )
        if (there := now.namesake(account.name)) is not None:
            raise RequestError(f"There is already an account {there.name!r}.", "Choose another name.")

    def _changed(self, name: str, what: str) -> AccountView:
        self._engine.reload_settings()
        self._kept.after_change()
        self._store.add_event("account", f"Account {name} {what}.", account=AccountName(name))
        self._feed.publish("state", {"account": name})
        return self.one(name)

    def _said(self, account: AccountName | None, text: str) -> None:
        self._store.add_event("account", text, account=account)
        self._kept.after_change()
        self._feed.publish("state", {"account": account})


def headline(accounts: Sequence[AccountView], now: float) -> str:
    phases = [view.state.phase for view in accounts]
    if not phases:
        return "No account yet."
    for phase, sentence in (
        (AccountPhase.BRAKE, "Stopped: too much would have been moved at once."),
        (AccountPhase.SIGN_IN, "An account needs you to sign in."),
        (AccountPhase.ERROR, "An account has a problem."),
        (AccountPhase.OFFLINE, "An account is not connected at the moment."),
        (AccountPhase.READING, "Reading existing folders."),
        (AccountPhase.CONNECTING, "Connecting."),
        (AccountPhase.STARTING, "Starting."),
    ):
        if phase in phases:
            return sentence
    if all(phase is AccountPhase.PAUSED for phase in phases):
        ends = {view.state.paused_until for view in accounts}
        return f"{paused_words(ends.pop() if len(ends) == 1 else None, now)}."
    return "Watching your mail."


def account_headline(account: Account, state: AccountState, now: float) -> str:
    """Mode and evidence in a sentence."""
    phase = {
        AccountPhase.PAUSED: f"{paused_words(state.paused_until, now)}: new mail stays where it is.",
        AccountPhase.BRAKE: "Stopped: too much would have been moved at once. Look, then let it go on.",
        AccountPhase.SIGN_IN: "It cannot sign in.",
        AccountPhase.OFFLINE: "Not connected; it will try again by itself.",
        AccountPhase.ERROR: "Something is wrong.",
        AccountPhase.READING: "Reading the existing folders to learn from them.",
    }.get(state.phase)
    if phase:
        return phase
    why = f" {state.evidence.explanation}" if state.evidence else ""
    chosen = " (your choice)" if account.mode is not None else ""
    suspected = "it lists what looks like junk and moves nothing"
    if state.quirk == GMAIL and account.doubt_label:
        suspected = f"what looks like junk gets the label “{account.doubt_label}” and stays"
    elif state.quirk != GMAIL and account.unsure_folder:
        suspected = f"what looks like junk goes to “{account.unsure_folder}”, and nothing to Junk"
    return {
        Mode.LEARNING: f"Learning{chosen}: it watches and moves nothing.",
        Mode.SUGGESTING: f"Suggesting{chosen}: {suspected}.",
        Mode.FILTERING: f"Filtering{chosen}: junk goes to {state.junk_folder or 'the Junk folder'}.",
    }[state.mode] + why
