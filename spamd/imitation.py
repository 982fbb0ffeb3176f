"""A forged mail and the one that it imitates: nearly the same text, but not of the same hand.

The memory of copies compares texts. Whoever calls a forged "Your parcel is waiting" junk means the forger, not the parcel service,
whose own mail differs by its links and sender alone; and what imitates a mail that was taken out of Junk is not good for that.
The receiving server's word (DMARC, or SPF or DKIM of that very sender) tells them apart. Where it says nothing, they are copies; and where it never does (Store.server_vouches), what stands in a
single mail is the sender's own, and shields nobody.

A sender is a registered domain, at a provider of free mail an address. Junk that goes on from one proven domain to
the next stays a copy: only a sender of whom good mail came before is taken for the one that was imitated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spamd.domain import AccountName, Identity, Judgement, Label
from spamd.message.dense import PROVEN
from spamd.message.vector import Features
from spamd.message.wordlists import FREE_MAIL
from spamd.model.copies import Match
from spamd.model.runtime import MailVector
from spamd.store.database import Store

BEFORE = 86400.0
"""Seconds by which good mail must have come before the junk: of a flood some mails are missed before one is named."""


@dataclass(frozen=True, slots=True)
class Imitations:
    """Asked by the scorer of each near-copy. accounts: whose mail the memory of copies may hold."""

    store: Store
    accounts: Callable[[], Iterable[AccountName]]

    def __call__(self, mail: MailVector, match: Match) -> bool:
        """Is one of them an imitation of the other? False where nothing tells."""
        if (
            not isinstance(mail, Features)
            or not mail.sender_domain
            or not mail.sender_proof
            or not mail.vouched
        ):
            return False
        remembered = self._remembered(Identity(match.key))
        if remembered is None or not remembered.sender_proof:
            return False
        if not self.store.server_vouches(remembered.account):
            return False
        here = _who(mail.sender, mail.sender_domain)
        blank = not remembered.sender_domain  # wiped, or older than what is kept: perhaps the same
        same = here == _who(remembered.sender, remembered.sender_domain)
        proven, was_proven = mail.sender_proof == PROVEN, remembered.sender_proof == PROVEN
        if match.label is Label.HAM:
            return was_proven and not (proven and (same or blank))
        if not proven or (was_proven and (same or blank)):
            return False
        # Of the time before it nobody's name is left either.
        return same or self._known(here, (self.store.clock() if blank else remembered.at) - BEFORE)

    def _remembered(self, identity: Identity) -> Judgement | None:
        found = (self.store.judgement_of(account, identity) for account in self.accounts())
        return next((one for one in found if one is not None), None)

    def _known(self, sender: str, before: float) -> bool:
        return any(
            self.store.good_mail_came_from(account, sender, before) and self.store.server_vouches(account)
            for account in self.accounts()
        )


def _who(sender: str, domain: str) -> str:
    return sender if domain in FREE_MAIL else domain
