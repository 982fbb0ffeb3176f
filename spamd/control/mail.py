"""What was judged: listed, searched, found again, and why it was judged so."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spamd.answers import Identified, LinkView, SimilarMail, Whereabouts, Why
from spamd.control.accounts import Accounts
from spamd.control.settings import SettingsNow
from spamd.control.telling import MAX_PAGE, Telling, page, within
from spamd.domain import AccountName, Identity, Judgement, Verdict
from spamd.errors import ModelError, NotFound, RequestError, SpamdError, Unreadable
from spamd.judgement import calibration
from spamd.judgement.calibration import told
from spamd.judgement.evidence import UNSURE_AT_FIRST
from spamd.judgement.policy import verdict_at

if TYPE_CHECKING:
    from spamd.control.engine import Engine
    from spamd.message.vector import StoredVector
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

NEAR = 0.25  # share of words two mails have in common, from which they are called similar


class Mail:
    """The mail of all accounts, as far as it is kept; told as all that leaves here (telling.py)."""

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        engine: Engine,
        settings_now: SettingsNow,
        accounts: Accounts,
        telling: Telling,
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._engine = engine
        self._settings = settings_now
        self._accounts = accounts
        self._telling = telling

    def recent(
        self,
        *,
        account: str | None = None,
        verdict: Verdict | None = None,
        since: float | None = None,
        until: float | None = None,
        before_id: int | None = None,
        limit: int = 50,
    ) -> tuple[Judgement, ...]:
        """Newest first."""
        return self._telling.mails(
            self._store.judgements(
                account=self._accounts.met(account) if account else None,
                verdict=verdict,
                since=since,
                until=until,
                before_id=before_id,
                limit=page(limit),
            )
        )

    def one(self, judgement_id: int) -> Judgement:
        found = self._store.judgement(judgement_id) if 0 < judgement_id < 2**63 else None
        if found is None:
            raise NotFound(
                "This mail is not known (any more).", "It may have been wiped, or is past the time kept."
            )
        return self._telling.mails([found])[0]

    def of(self, account: AccountName, identity: Identity) -> Judgement | None:
        """The judgement a label or move belongs to, if it is still known."""
        found = self._store.judgement_of(account, identity)
        return self._telling.mails([found])[0] if found else None

    def search(
        self,
        text: str,
        *,
        since: float | None = None,
        until: float | None = None,
        before_id: int | None = None,
        limit: int = 50,
    ) -> tuple[Judgement, ...]:
        """Over sender, subject and snippet, as far as they are kept."""
        text = text.strip()[:200]
        if not text:
            return self.recent(since=since, until=until, before_id=before_id, limit=limit)
        wanted, found = page(limit), []
        # The index knows words, not times: read on until the page is full, at most ten pages.
        for _ in range(10):
            batch = list(self._store.search(text, limit=MAX_PAGE, before_id=before_id))
            found += [one for one in batch if within(one.at, since, until)]
            if len(found) >= wanted or len(batch) < MAX_PAGE:
                break
            before_id = batch[-1].id
        return self._telling.mails(found[:wanted])

    def similar(self, judgement_id: int, limit: int = 20) -> tuple[SimilarMail, ...]:
        """Other mails like this one: by the words in the stored vectors, the sender's domain, the links."""
        mail = self.one(judgement_id)
        found: dict[int, SimilarMail] = {}
        own = self._vector(mail)
        if own is not None:
            for likeness, identity in self._near(mail, own)[: page(limit)]:
                other = self._store.judgement_of(mail.account, identity)
                if other is not None:
                    found[other.id] = SimilarMail(other, likeness, "copy" if likeness > 0.9 else "words")
        for text, cause in ((mail.sender, "sender"), (mail.sender_domain, "sender"), (mail.subject, "words")):
            if len(found) >= limit or not text.strip():
                continue
            for other in self._store.search(text[:200], limit=20):
                if other.id != mail.id and other.id not in found:
                    found[other.id] = SimilarMail(other, 0.2, cause)
        ranked = sorted(found.values(), key=lambda one: (-one.likeness, -one.judgement.at))[: page(limit)]
        mails = self._telling.mails(one.judgement for one in ranked)
        return tuple(replace(one, judgement=other) for one, other in zip(ranked, mails, strict=True))

    def why(self, judgement_id: int) -> Why:
        """Reads the mail again where it lies; without it, tells what is stored."""
        mail = self.one(judgement_id)
        missing, raw = "", None
        try:
            raw = self._engine.fetch_mail(mail.account, mail.identity)
            if raw is None:
                missing = "The mail is not in a folder spamd reads any more, so its words cannot be shown."
        except SpamdError as error:  # no connection, no such account any more, no secret
            missing = f"The mail could not be read now: {error.title}"
        evidence = (
            self._accounts.one(mail.account).state.evidence if self._accounts.known(mail.account) else None
        )
        from spamd.model.explanation import look_at, parts

        known = self._telling.evidence().get(mail.account)
        line = known.told if known else calibration.AS_IT_IS
        # Scored by the model of then, told by the scale of today's.
        base, personal = parts(mail.score, self._scorer.card, line)
        stored = Why(
            judgement=mail,
            verdict=mail.decision.verdict,
            probability=mail.score.probability,
            junk_threshold=evidence.junk_threshold if evidence else None,
            unsure_threshold=evidence.unsure_threshold if evidence else None,
            model_id=mail.score.model_id,
            explanation=mail.decision.explanation,
            reasons=(),
            base_logit=base,
            personal_logit=personal,
            links=tuple(LinkView(host, "") for host in mail.link_hosts),
            missing=missing,
            copy_of=mail.score.copy_of,
            subject=mail.subject,
            sender=mail.sender,
        )
        if raw is None:
            return stored
        try:
            vouched = self._store.server_vouches(mail.account)
            return look_at(raw, self._scorer, stored, line, vouched=vouched)
        except (
            ModelError,
            Unreadable,
        ) as error:  # of another version, or deadly: what is stored can still be told
            return replace(stored, missing=f"The mail could not be scored again: {error.title}")

    def try_mail(self, raw: bytes) -> Why:
        """What would be said of this mail now. Nothing is stored."""
        from spamd.model.explanation import look_at

        if not raw.strip():
            raise RequestError("There is no mail to look at.", "Give the source of a mail, with its headers.")
        card = self._scorer.card
        known = self._telling.evidence()
        evidence = next(
            (known[account.name] for account in self._settings.now().accounts if account.name in known), None
        )
        junk = (
            evidence.junk_threshold
            if evidence and evidence.junk_threshold is not None
            else card.junk_threshold
        )
        unsure = evidence.unsure_threshold if evidence else UNSURE_AT_FIRST
        empty = Why(
            judgement=None,
            verdict=Verdict.KEEP,
            probability=0.0,
            junk_threshold=junk,
            unsure_threshold=unsure,
            model_id=card.id,
            explanation="",
            reasons=(),
            base_logit=0.0,
            personal_logit=0.0,
        )
        line = evidence.told if evidence else calibration.AS_IT_IS
        why = look_at(raw, self._scorer, empty, line)
        verdict = verdict_at(why.probability, junk=junk, unsure=unsure)
        sentence = {
            Verdict.JUNK: "This would count as junk.",
            Verdict.UNSURE: "This would be left in the inbox and listed for review.",
            Verdict.KEEP: "This would stay in the inbox.",
        }[verdict]
        return replace(
            why,
            verdict=verdict,
            explanation=sentence,
            probability=told(why.probability, line),
            junk_threshold=told(junk, line),
            unsure_threshold=told(unsure, line),
        )

    def whereabouts(self, judgement_id: int) -> Whereabouts:
        """For a mail program that is to open it."""
        mail = self.one(judgement_id)
        for seen in self._store.sighting_of(mail.account, mail.identity):
            return Whereabouts(seen.message_id, seen.size, seen.ref.folder)
        raise NotFound("Where this mail lies is not known (any more).")

    def identify(
        self,
        message_id: str,
        *,
        size: int | None = None,
        raw: bytes | None = None,
        account: str | None = None,
        lies_in: str = "",
    ) -> Identified:
        """By the Message-ID header, with or without angle brackets; without anything else the newest.

        Anybody can copy a Message-ID, so it alone is no proof. Nor is another size in bytes (0: not known) proof
        of another mail: Thunderbird writes down what it last downloaded, with its own line ends and even if
        that broke off, and mails grow on their way into local folders. Where the size does not single one
        out, the answer is doubtful, and `raw` (how the mail begins, as far as the daemon itself reads)
        decides: it must say what was judged. `account` and `lies_in`, a folder, choose between true copies.
        """
        wanted = message_id.strip().strip("<>").strip()
        if not wanted:
            raise RequestError("A Message-ID is needed.")
        known = self._store.judgement_by_message_id(wanted[:1000], size=size)
        sized = [one for one in known if size and self._is_of_size(one, size)]
        if raw:
            fits = self._of_content(known, sized, raw)
        elif size is None:
            fits = known[:1]
        elif len(sized) == 1:
            fits = sized
        else:
            return Identified(None, None, None, doubtful=bool(known))
        if not fits:
            return Identified(None, None, None)
        found = max(
            fits, key=lambda one: (one.account == account, self._lies_in(one, lies_in))
        )  # else the newest
        return Identified(self._telling.mails([found])[0], found.identity, found.account)

    def _near(self, mail: Judgement, own: StoredVector) -> list[tuple[float, Identity]]:
        """Mails of the same account that share many words with it, the most alike first."""
        import numpy as np

        from spamd.message import likeness, vector

        names, prints = list[Identity](), []
        for identity, packed in self._store.vectors(mail.account, limit=2000):
            if identity != mail.identity:
                with contextlib.suppress(SpamdError, ValueError):  # of an older recipe
                    prints.append(vector.unpack(packed).fingerprint)
                    names.append(identity)
        if not prints:
            return []
        alike = likeness.similarities(own.fingerprint, np.stack(prints))
        near = [(float(a), name) for a, name in zip(alike, names, strict=True) if a >= NEAR]
        return sorted(near, key=lambda one: -one[0])

    def _vector(self, mail: Judgement) -> StoredVector | None:
        from spamd.message import vector

        packed = self._store.vector_of(mail.account, mail.identity)
        if packed is None:
            return None
        try:
            return vector.unpack(packed)
        except (SpamdError, ValueError):  # of an older recipe
            return None

    def _is_of_size(self, mail: Judgement, size: int) -> bool:
        return any(one.size == size for one in self._store.sighting_of(mail.account, mail.identity))

    def _lies_in(self, mail: Judgement, folder: str) -> bool:
        """Is it in a folder whose path ends like this one? Programs write paths in different ways."""
        last = re.split(r"[/.]", folder.rstrip("/"))[-1].casefold()
        return bool(last) and any(
            one.gone_at is None and re.split(r"[/.]", str(one.ref.folder))[-1].casefold() == last
            for one in self._store.sighting_of(mail.account, mail.identity)
        )

    def _of_content(
        self, known: Sequence[Judgement], sized: Sequence[Judgement], raw: bytes
    ) -> Sequence[Judgement]:
        """Of these the mails that say what `raw` says, by the vectors stored when they were judged.

        A vector of an older recipe, or of mail read in an older way, cannot be compared; there the size has to do.
        """
        from spamd.message import vector

        # Mail programs end the last line, or put an empty one after it.
        ends = {raw, *(raw.rstrip(b"\r\n") + end for end in (b"", b"\r\n", b"\r\n\r\n"))}
        # Packed and unpacked: rounded as the stored ones are.
        told = [vector.unpack(vector.pack(self._scorer.read(one))) for one in ends]

        def fits(one: Judgement) -> bool:
            packed = self._store.vector_of(one.account, one.identity)
            if packed is None or vector.schema_of(packed) != vector.SCHEMA:
                return one in sized
            stored = self._vector(one)
            return one in sized if stored is None else any(_same(stored, other) for other in told)

        return [one for one in known if fits(one)]


def _same(one: StoredVector, other: StoredVector) -> bool:
    import numpy as np

    return (
        np.array_equal(one.base_ids, other.base_ids)
        and np.array_equal(one.personal_ids, other.personal_ids)
        and np.array_equal(one.fingerprint, other.fingerprint)
        and np.array_equal(one.dense, other.dense, equal_nan=True)
    )
