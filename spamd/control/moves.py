"""Our own moves, taken back: of one mail, or all since a time or of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spamd.answers import Answered, UndoItem, UndoPlan
from spamd.control.accounts import Accounts
from spamd.control.kept import Kept
from spamd.control.mail import Mail
from spamd.control.review import Review
from spamd.domain import OPEN_MOVES, Label, LabelSource, ModelId, MoveKind, MoveRecord
from spamd.errors import RequestError

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.store.database import Store

MAX_UNDO_SHOWN = 200


class Moves:
    """Of all accounts."""

    def __init__(
        self, store: Store, engine: Engine, accounts: Accounts, mail: Mail, review: Review, kept: Kept
    ) -> None:
        self._store = store
        self._engine = engine
        self._accounts = accounts
        self._mail = mail
        self._review = review
        self._kept = kept

    def undo_one(self, judgement_id: int) -> Answered:
        """Put one mail back; it counts as the person's word that it is good."""
        mail = self._mail.one(judgement_id)
        done = self._store.move_of(mail.account, mail.identity)
        if done is not None and done.state in OPEN_MOVES:
            raise RequestError("This mail is being moved at this very moment.", "Try again in a moment.")
        if done is None or done.kind is MoveKind.UNDO or not mail.moved:
            raise RequestError(
                "This mail was not moved, so there is nothing to undo.",
                "`spamdctl recent` and Today say which ones were.",
            )
        return self._review.answer(judgement_id, Label.HAM, source=LabelSource.UNDO)

    def undo(
        self,
        *,
        since: float | None = None,
        model_id: str | None = None,
        account: str | None = None,
        dry_run: bool = True,
    ) -> UndoPlan:
        """All moves since a time or of a model. Nothing is learned from it: among many there is real junk.

        A mail that was put back is not moved again by itself.
        """
        if since is None and not model_id:
            raise RequestError("Say since when, or of which model.")
        name = self._accounts.one(account).account.name if account else None
        model = ModelId(model_id) if model_id else None
        numbers, skipped = self._store.to_undo(name, since, model)
        newest = [row for number in numbers[:MAX_UNDO_SHOWN] if (row := self._store.move(number)) is not None]
        items = tuple(self._undo_item(row) for row in newest)
        count = len(numbers)
        if not dry_run and numbers:
            self._engine.put_back(numbers)
            self._store.add_event(
                "move", f"{count} moves are being undone, because the person asked.", account=name
            )
            self._kept.after_change()
        mails = "1 mail" if count == 1 else f"{count} mails"
        text = (
            "There is nothing to put back."
            if not count
            else f"{mails} would go back to where they were."
            if dry_run
            else f"{mails} are going back to where they were."
        )
        return UndoPlan(dry_run, count, items, skipped, text)

    def _undo_item(self, row: MoveRecord) -> UndoItem:
        mail = self._store.judgement_of(row.account, row.identity)
        return UndoItem(
            move_id=row.id,
            account=row.account,
            judgement_id=mail.id if mail else None,
            at=row.created_at,
            kind=row.kind,
            state=row.state,
            sender=mail.sender if mail else "",
            subject=mail.subject if mail else "",
            source=row.source.folder,
            target=row.target,
            model_id=row.model_id,
        )
