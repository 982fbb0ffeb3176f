"""What the person's word is wanted on, and the word itself: taught at once, and the mail goes where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd import nightly
from spamd.answers import Answered, Done, ReviewItem
from spamd.control.accounts import Accounts
from spamd.control.feed import Feed
from spamd.control.kept import Kept
from spamd.control.labels import Labels, at_once
from spamd.control.mail import Mail
from spamd.control.telling import MAX_PAGE, Telling, label_word, page, source_word
from spamd.domain import Identity, Judgement, Label, LabelRecord, LabelSource, MoveKind, Verdict
from spamd.errors import NotFound, RequestError

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.store.database import Store

DAY = 86400.0
WINDOW = 30 * DAY  # older doubt is not asked about any more


class Review:
    """Of all accounts."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        accounts: Accounts,
        mail: Mail,
        labels: Labels,
        telling: Telling,
        feed: Feed,
        kept: Kept,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._engine = engine
        self._accounts = accounts
        self._mail = mail
        self._labels = labels
        self._telling = telling
        self._feed = feed
        self._kept = kept
        self._clock = clock
        self._answers: dict[int, tuple[LabelRecord | None, str]] = {}  # what held before, and the move begun

    def items(self, limit: int = 20) -> tuple[ReviewItem, ...]:
        """What the person's word is wanted on: contradictions, then doubt, then "would have moved"."""
        limit = page(limit)
        items: dict[int, ReviewItem] = {}
        for label in self._store.labels(held=True):
            mail = self._store.judgement_of(label.account, label.identity)
            if mail is not None and mail.id not in items:
                why = "but everything else says the opposite"
                if at_once(label):
                    why = "but together with very many others"
                items[mail.id] = ReviewItem(
                    mail,
                    "held",
                    f"This would be learned as {label_word(label.label)} ({source_word(label.source)}), {why}. Which is it?",
                    label.label,
                    label.id,
                    label.source.value,
                )
            if len(items) >= limit:
                break
        for account, identity in nightly.contradicting(self._store):
            mail, said = self._store.judgement_of(account, identity), self._store.label_of(account, identity)
            if mail is not None and said is not None and mail.id not in items and len(items) < limit:
                items[mail.id] = ReviewItem(
                    mail,
                    "contradicts",
                    f"You said that this is {label_word(said.label)}. The model is sure of the contrary, and no night has "
                    "learned it yet. Is it so?",
                    said.label,
                    said.id,
                    said.source.value,
                )
        since = self._clock() - WINDOW
        for verdict in (Verdict.UNSURE, Verdict.JUNK):
            if len(items) >= limit:
                break
            for mail in self._store.judgements(verdict=verdict, since=since, labelled=False, limit=MAX_PAGE):
                if mail.id in items or (mail.moved and verdict is Verdict.JUNK):
                    continue
                if verdict is Verdict.UNSURE:
                    item = ReviewItem(mail, "unsure", "Junk or not? The model cannot tell.")
                else:
                    item = ReviewItem(mail, "would-move", "This looks like junk. Is it?", Label.SPAM)
                items[mail.id] = item
                if len(items) >= limit:
                    break
        mails = self._telling.mails(item.judgement for item in items.values())
        return tuple(replace(item, judgement=mail) for item, mail in zip(items.values(), mails, strict=True))

    def waiting(self) -> int:
        """At most 100."""
        count: int = self._kept.remember("review", 2.0, lambda: len(self.items(100)))
        return count

    def answer(
        self, judgement_id: int, label: Label, *, source: LabelSource = LabelSource.REVIEW, move: bool = True
    ) -> Answered:
        """The person's word on a mail: taught at once, and the mail goes where it belongs."""
        mail = self._mail.one(judgement_id)
        before = self._store.label_of(mail.account, mail.identity)
        rescue = label is Label.HAM and move and mail.moved and mail.decision.verdict is Verdict.JUNK
        if rescue and source is LabelSource.REVIEW:
            source = LabelSource.UNDO  # taken out of Junk: by its source the night knows a rescue
        record = self._labels.teach(mail.account, mail.identity, label, source)
        nightly.settle(self._store, mail.account, mail.identity)
        mail = self._mail.one(judgement_id)  # it may have been moved this moment
        moved = "none"
        # The journal lets no mail be filed a second time.
        stays = (
            move
            and label is Label.SPAM
            and not mail.moved
            and self._store.was_moved(mail.account, mail.identity)
        )
        if move and label is Label.SPAM and not mail.moved and not stays:
            self._engine.file_junk([mail.id])
            moved = "junk"
        elif move and label is Label.HAM and mail.moved:
            done = self._store.move_of(mail.account, mail.identity)
            if done is not None and done.kind is not MoveKind.UNDO:
                self._engine.put_back([done.id])
                moved = "back"
        self._kept.after_change()
        self._answers[mail.id] = (before, moved)
        while len(self._answers) > 1000:
            self._answers.pop(next(iter(self._answers)), None)
        text = {
            "junk": "Learned as junk; it goes to the Junk folder.",
            "back": "Learned as good; it goes back to where it was.",
            "none": f"Learned as {label_word(label)}.",
        }[moved]
        if stays:
            text += " It was put back once, so it stays where it is: drag it, if it should go."
        elif label is Label.SPAM and mail.moved and mail.decision.verdict is Verdict.UNSURE:
            text += " It lies in your folder for doubtful mail: drag it, if it should go to Junk."
        elif label is Label.HAM and mail.moved and moved == "none" and not move:
            text += " It stays where I put it."
        elif label is Label.HAM and moved == "none" and self._in_junk(mail):
            text += " It lies in Junk, where I have not put it: drag it, if it should go back."
        self._feed.publish("verdict", {"id": mail.id, "label": label.value, "move": moved})
        following = next((item.judgement.id for item in self.items(2) if item.judgement.id != mail.id), None)
        return Answered(self._mail.one(mail.id), record, moved, text, following)

    def say(self, account: str, identity: str, label: Label, source: LabelSource) -> LabelRecord:
        name = self._accounts.one(account).account.name
        mail = self._store.judgement_of(name, Identity(identity))
        if mail is None:
            raise NotFound("This mail is not known.", "Only mail that was judged or read can be labelled.")
        return self.answer(mail.id, label, source=source).label

    def unanswer(self, judgement_id: int) -> Done:
        """Take the last answer on a mail back: what was said before it holds again, and the move is undone."""
        mail = self._mail.one(judgement_id)
        given = self._answers.pop(judgement_id, None)
        if given is None:
            raise RequestError("There is no answer to take back.", "Labels can be taken back one by one.")
        before, move = given
        self._labels.forget(mail.account, mail.identity)
        if before is not None:
            self._labels.restore(before)
        if move == "back":
            self._engine.file_junk([mail.id])
        elif move == "junk":
            done = self._store.move_of(mail.account, mail.identity)
            if done is not None:
                self._engine.put_back([done.id])
        return Done("The answer was taken back.")

    def _in_junk(self, mail: Judgement) -> bool:
        known = self._accounts.known(mail.account)
        junk = self._accounts.one(mail.account).state.junk_folder if known else None
        seen = self._store.sighting_of(mail.account, mail.identity) if junk else []
        return any(one.gone_at is None and one.ref.folder == junk for one in seen)
