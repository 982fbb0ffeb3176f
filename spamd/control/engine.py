"""What only the running daemon can do, as the rooms ask it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spamd.answers import AccountCheck, AccountState, Progress, ServerGuess, SignIn
from spamd.domain import Account, AccountName, Identity


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

    def forget_pause(self, account: AccountName) -> None:
        """The account was removed, and what was said of it goes along; not what was said of all."""
        ...

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
        """Sign in, look, sign out; `secret` None: the stored one. Blocks up to 60 s.

        What the mailbox refuses is part of the answer, never an error.
        """
        ...

    def find_servers(self, address: str, *, look_up: bool = False) -> Sequence[ServerGuess]:
        """Where this address may have its mailbox, best first. Blocks up to 20 s.

        look_up: ask the network, whatever the settings say.
        """
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
