"""Everything a person can ask or say. Pages, API, command line, tray and add-on are thin doors over this one room.

`Control` only reads and writes through store, scorer and bundles; what needs a connection to a mailbox or another
thread goes through `Engine`, which the daemon implements. Safe to call from any thread.

Errors: `RequestError` (bad value), `NotFound` (no such thing), and whatever store, model and mailbox raise.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from spamd.answers import (
    AccountCheck,
    AccountState,
    Progress,
    ServerGuess,
    SignIn,
)
from spamd.domain import (
    Account,
    AccountName,
    Identity,
)

log = logging.getLogger(__name__)

DAY = 86400.0
REVIEW_WINDOW = 30 * DAY  # older doubt is not asked about any more
RAW_SHOWN = 65536  # bytes of a mail shown as text
MAX_PAGE = 200
MAX_UNDO_SHOWN = 200


class Engine(Protocol):
    """What only the running daemon can do. Every method returns at once unless it says otherwise."""

    def account_states(self) -> Sequence[AccountState]: ...

    def progress(self) -> Sequence[Progress]:
        """Training and first readings under way, and those that ended in the last minute."""
        ...

    def pause(self, account: AccountName | None, until: float | None) -> None:
        """No verdicts and no moves for one account (None: all), until a time (None: until resumed)."""
        ...

    def resume(self, account: AccountName | None) -> None: ...

    def go_on(self, account: AccountName) -> None:
        """The person looked at the flood: release the brake."""
        ...

    def wake(self, account: AccountName | None) -> None:
        """Look now."""
        ...

    def put_back(self, move_ids: Sequence[int]) -> None:
        """Queue an UNDO move for each of these journal rows. Already gone or moved on: nothing happens."""
        ...

    def file_junk(self, judgement_ids: Sequence[int]) -> None:
        """Queue a move to Junk for these mails, because the person said so."""
        ...

    def fetch_mail(self, account: AccountName, identity: Identity) -> bytes | None:
        """The mail's bytes, where it lies now. Blocks up to 20 s; None: not found. Raises MailboxError."""
        ...

    def check_account(self, account: Account, secret: str | None) -> AccountCheck:
        """Sign in, look, sign out; `secret` None: the stored one. Blocks up to 60 s; never raises MailboxError."""
        ...

    def find_servers(self, address: str) -> Sequence[ServerGuess]:
        """Where this address may have its mailbox, best first. Blocks up to 20 s."""
        ...

    def sign_in(self, account: Account) -> SignIn:
        """Begin an OAuth sign-in; the secret is stored when the person has finished it in the browser."""
        ...

    def start_first_reading(self, account: AccountName) -> None: ...

    def train(self, from_scratch: bool) -> None:
        """Start the trainer. RequestError when one runs already or the trainer is not installed."""
        ...

    def reload_settings(self) -> None:
        """config.toml or a secret changed: start, stop and restart workers as needed."""
        ...

    def rebuild_scores(self) -> None:
        """Labels changed in bulk: rebuild the instant head from the ledger."""
        ...

    def stop(self) -> None:
        """End the daemon in an orderly way, soon."""
        ...


@dataclass(frozen=True, slots=True)
class Happening:
    """Told to every open page, tray and add-on. `kind`: "verdict", "progress" or "state"."""

    kind: str
    data: Mapping[str, object]
    at: float


class Feed:
    """Who wants to hear of happenings. Listeners must return at once and never raise."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._listeners: dict[int, Callable[[Happening], None]] = {}

    def publish(self, kind: str, data: Mapping[str, object]) -> None:
        """data: JSON values only, no mail text beyond what the store may keep for display."""
        happening = Happening(kind, dict(data), self._clock())
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener(happening)

    def listen(self, listener: Callable[[Happening], None]) -> Callable[[], None]:
        """Returns what to call to stop listening."""
        with self._lock:
            number = next(self._numbers)
            self._listeners[number] = listener

        def forget() -> None:
            with self._lock:
                self._listeners.pop(number, None)

        return forget
