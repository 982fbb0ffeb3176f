"""What is written on a mail that stays or goes: the verdict as a keyword, and on Gmail a label that the person sees."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd.domain import (
    INBOX,
    STAMPED_KEYWORD,
    Account,
    Decision,
    FolderName,
    Label,
    MessageRef,
    MoveKind,
    MoveRecord,
    MoveState,
    Sighting,
    Verdict,
)
from spamd.errors import (
    ConnectionLost,
    FolderChanged,
    FolderMissing,
    FolderRefused,
    MailboxError,
    ServerBusy,
    SignInError,
)
from spamd.filtering.notices import Notices
from spamd.judgement.corrections import held_or_signed, keyword_label
from spamd.source import LabelSession, MailSession

if TYPE_CHECKING:
    from spamd.store.database import Store

log = logging.getLogger(__name__)

STAMPS = {Verdict.JUNK: "Junk", Verdict.KEEP: "NonJunk"}
OPPOSITE = {"Junk": ("NonJunk", "$NotJunk", "NotJunk"), "NonJunk": ("Junk", "$Junk")}


class Marks:
    """On the mail of one account. A mark that is refused keeps no mail from being judged and moved."""

    def __init__(self, session: MailSession, store: Store, account: Account, notices: Notices) -> None:
        self._session = session
        self._store = store
        self._account = account
        self._notices = notices

    def stamp(self, sighting: Sighting, decision: Decision) -> None:
        """Write the verdict as a keyword, where the person wants it and the server keeps it."""
        keyword = STAMPS.get(decision.verdict)
        if not self._account.stamp or keyword is None or not self._session.abilities.keywords:
            return
        if STAMPED_KEYWORD.lower() in {word.lower() for word in sighting.keywords}:
            return  # by another daemon; two that disagree would look like a person who changes their mind
        try:
            stamped = self._session.add_keyword(
                sighting.ref, keyword, OPPOSITE[keyword], also=(STAMPED_KEYWORD,)
            )
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:  # a mark that is refused keeps no mail from being judged and moved
            log.info("%s: a mail could not be marked: %s", self._account.name, type(error).__name__)
            return
        if stamped:
            kept = {word for word in sighting.keywords if word not in OPPOSITE[keyword]}
            self._store.set_keywords(self._account.name, sighting.ref, kept | {keyword, STAMPED_KEYWORD})

    def stamp_late(self, records: Sequence[MoveRecord]) -> None:
        """A batch is decided on, marked and then moved: what ended in between was moved without its mark."""
        if not self._account.stamp:
            return
        for record in records:
            if (
                record.state is not MoveState.DONE
                or record.kind is not MoveKind.JUNK
                or self._store.word_of(self._account.name, record.identity) is Label.HAM
            ):
                continue
            judgement = self._store.judgement_of(self._account.name, record.identity)
            if judgement is None or not judgement.decision.move:
                continue
            for sighting in self._store.sighting_of(self._account.name, record.identity):
                if (sighting.ref.folder, sighting.ref.uid) == (record.target, record.target_uid):
                    self.stamp(sighting, judgement.decision)

    def stamp_what_stays(self, newest: int) -> None:
        """Of the last batch, what ended in between was judged without its mark, and the person's "Junk" in a mail program would
        be a hint there, no word. Not where a mail program has marked it meanwhile. newest: mails in a batch.
        """
        if not self._account.stamp or not self._session.abilities.keywords:
            return
        decided: dict[MessageRef, tuple[Sighting, Decision]] = {}
        for judgement in self._store.judgements(account=self._account.name, limit=newest):
            decision = judgement.decision
            if (
                judgement.moved
                or judgement.label
                or decision.reason == "before"
                or decision.verdict not in STAMPS
            ):
                continue
            for sighting in self._store.sighting_of(self._account.name, judgement.identity):
                bare = STAMPED_KEYWORD.lower() not in {word.lower() for word in sighting.keywords}
                if bare and sighting.gone_at is None and sighting.ref.folder == judgement.folder:
                    decided[sighting.ref] = sighting, decision
        try:
            there = self._session.locate(list(decided)) if decided else ()
        except (FolderMissing, FolderChanged, FolderRefused):
            return
        for arrival in there:
            keywords = frozenset(flag for flag in arrival.flags if not flag.startswith("\\"))
            sighting, decision = decided[arrival.ref]
            if keyword_label(keywords) is None and not held_or_signed(keywords):
                self.stamp(replace(sighting, keywords=keywords), decision)

    def put_label(self, sighting: Sighting, label: FolderName) -> None:
        """A mark that the person sees and can take off; where it is refused, the mail is only listed."""
        if not isinstance(self._session, LabelSession):
            return
        try:
            self._session.add_label(sighting.ref, label)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: a mail could not be labelled: %s", self._account.name, type(error).__name__)
            self._notices.tell_once("label", f"A mail could not get the label “{label}”: {error.title}")

    def take_labels_off(self, label: FolderName | None) -> int:
        """Off the mail in the inbox that the person has called good since; how many. One SEARCH where there is none."""
        if label is None or not self._session.abilities.labels or not isinstance(self._session, LabelSession):
            return 0
        count = 0
        try:
            marked = self._session.labelled(INBOX, label)
            known = self._store.sightings(self._account.name, INBOX) if marked else {}
            for sighting in (known[uid] for uid in marked if uid in known):
                if self._store.word_of(self._account.name, sighting.identity) is Label.HAM:
                    count += self._session.remove_label(sighting.ref, label)
        except (ConnectionLost, ServerBusy, SignInError):
            raise
        except MailboxError as error:
            log.info("%s: labels were not taken off: %s", self._account.name, type(error).__name__)
        return count
