"""Everything a person can ask or say. Pages, API, command line, tray and add-on are thin doors over it.

`Control` only reads and writes through store, scorer and bundles; what needs a connection to a mailbox or
another thread goes through `Engine`, which the daemon implements. Safe to call from any thread.

Errors: `RequestError` (bad value), `NotFound` (no such thing), and whatever store, model and mailbox raise.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from spamd import __version__, nightly, settings
from spamd.answers import (
    AccountCheck,
    AccountPhase,
    AccountState,
    AccountView,
    Answered,
    CalibrationBin,
    Done,
    Happening,
    HostCount,
    Identified,
    Imported,
    LinkView,
    Models,
    NightView,
    Progress,
    PromiseCheck,
    ReviewItem,
    ServerGuess,
    SettingView,
    Shadow,
    ShadowMail,
    SignIn,
    SimilarMail,
    Status,
    Trends,
    UndoItem,
    UndoPlan,
    Whereabouts,
    Why,
    Wiped,
    imported,
)
from spamd.domain import (
    OPEN_MOVES,
    Account,
    AccountName,
    Arrival,
    AuthMethod,
    EventRecord,
    Evidence,
    FetchedMail,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    ListEntry,
    MessageRef,
    Mode,
    ModelCard,
    ModelId,
    MoveKind,
    MoveRecord,
    SourceKind,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import (
    ConfigError,
    CredentialError,
    DoneInPart,
    ModelError,
    NotFound,
    RequestError,
    SecretMissing,
    SignInError,
    SpamdError,
    StoreError,
)
from spamd.judgement import calibration, corrections, schedule, shadow
from spamd.judgement.calibration import told
from spamd.judgement.evidence import upper_bound
from spamd.mailbox.quirks import GMAIL
from spamd.opening import end_sign_in, forget_secret
from spamd.store.judgements import DISPLAYS
from spamd.store.labels import PERSON_SOURCES, STRENGTH

if TYPE_CHECKING:
    from spamd.credentials import Secrets
    from spamd.message.vector import StoredVector
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.paths import Paths
    from spamd.settings import Settings
    from spamd.store.database import Store

log = logging.getLogger(__name__)

DAY = 86400.0
NEVER_SIGNED_IN = "never-signed-in:"
"""State of an account that was added without a secret, before its first sign-in with the browser."""
REVIEW_WINDOW = 30 * DAY  # older doubt is not asked about any more
MAX_PAGE = 200
MAX_UNDO_SHOWN = 200
SHADOW_SHOWN = 100
CALIBRATION_EDGES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)
NEAR = 0.25  # share of words two mails have in common, from which they are called similar


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


class Control:
    """Answers questions and carries out wishes. One per daemon."""

    def __init__(
        self,
        *,
        paths: Paths,
        store: Store,
        scorer: Scorer,
        bundles: Bundles,
        engine: Engine,
        secrets: Secrets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.feed = Feed(clock)
        self.paths = paths
        self._paths = paths
        self._store = store
        self._scorer = scorer
        self._bundles = bundles
        self._engine = engine
        self._secrets = secrets
        self._secrets_kind = settings.load(paths.config_file).secrets
        self._clock = clock
        self._started_at = clock()
        self._changing = threading.Lock()  # one change of settings or models at a time
        self._answers: dict[int, tuple[LabelRecord | None, str]] = {}  # what held before, and the move begun
        self._loaded: tuple[int, Settings] | None = None  # with the file's time of change
        self._kept: dict[str, tuple[float, Any]] = {}  # slow answers, kept for a moment

    # -- how things are ----------------------------------------------------------------------------

    def status(self) -> Status:
        now = self._clock()
        accounts = self.accounts()
        today: Counter[str] = Counter()
        midnight = _midnight(now)
        for view in accounts:
            today.update(self._store.counts(view.account.name, midnight))
        progress = tuple(self._engine.progress())
        return Status(
            version=__version__,
            now=now,
            started_at=self._started_at,
            accounts=accounts,
            today=dict(today),
            review_waiting=self.review_waiting(),
            model=self._scorer.card,
            progress=progress,
            needs_person=self.events(limit=5, needs_person=True),
            paused=bool(accounts) and all(v.state.phase is AccountPhase.PAUSED for v in accounts),
            headline=_headline(accounts),
            training_hint=_trainer()[1],
        )

    def accounts(self) -> tuple[AccountView, ...]:
        """With thresholds as they are told, as all that leaves here."""
        states = {state.name: state for state in self._engine.account_states()}
        since = self._clock() - 30 * DAY
        views = []
        for account in self._settings().accounts:
            state = states.get(account.name) or AccountState(account.name, AccountPhase.STARTING)
            state = replace(state, evidence=_as_told(state.evidence))
            judged = self._remember(
                f"counts {account.name}", 5.0, partial(self._store.counts, account.name, since)
            )
            views.append(AccountView(account, state, dict(judged), _account_headline(account, state)))
        return tuple(views)

    def account(self, name: str) -> AccountView:
        for view in self.accounts():
            if view.account.name == name:
                return view
        raise NotFound(f"There is no account called {_short(name)!r}.", "The Accounts page lists them.")

    def _met(self, name: str) -> AccountName:
        """An account that is here, or of which something is kept. NotFound: told as empty, or wiped, a slip would pass."""
        account, store = AccountName(name), self._store
        if self._settings().account(name) is None and not (
            store.judgements(account=account, limit=1)
            or store.labels(account, limit=1)
            or store.cursors(account)
        ):
            self.account(name)
        return account

    # -- what was judged ---------------------------------------------------------------------------

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
        return self._told(
            self._store.judgements(
                account=self._met(account) if account else None,
                verdict=verdict,
                since=since,
                until=until,
                before_id=before_id,
                limit=_page(limit),
            )
        )

    def _told(self, mails: Iterable[Judgement]) -> tuple[Judgement, ...]:
        """With probabilities as they are told. For what leaves here: thresholds are asked of the model's own."""
        lines = {account: known.told for account, known in self._evidence().items()}
        return tuple(
            replace(one, score=replace(one.score, probability=told(one.score.probability, line)))
            if (line := lines.get(one.account, calibration.AS_IT_IS)) != calibration.AS_IT_IS
            else one
            for one in mails
        )

    def _evidence(self) -> dict[AccountName, Evidence]:
        """As it holds: thresholds are the model's own probabilities."""
        return {
            state.name: state.evidence
            for state in self._engine.account_states()
            if state.evidence is not None
        }

    def judgement(self, judgement_id: int) -> Judgement:
        found = self._store.judgement(judgement_id) if 0 < judgement_id < 2**63 else None
        if found is None:
            raise NotFound(
                "This mail is not known (any more).", "It may have been wiped, or is past the time kept."
            )
        return self._told([found])[0]

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
        wanted, found = _page(limit), []
        # The index knows words, not times: read on until the page is full, at most ten pages.
        for _ in range(10):
            batch = list(self._store.search(text, limit=MAX_PAGE, before_id=before_id))
            found += [one for one in batch if _within(one.at, since, until)]
            if len(found) >= wanted or len(batch) < MAX_PAGE:
                break
            before_id = batch[-1].id
        return self._told(found[:wanted])

    def similar(self, judgement_id: int, limit: int = 20) -> tuple[SimilarMail, ...]:
        """Other mails like this one: by the words in the stored vectors, the sender's domain, the links."""
        mail = self.judgement(judgement_id)
        found: dict[int, SimilarMail] = {}
        own = self._vector(mail)
        if own is not None:
            for likeness, identity in self._near(mail, own)[: _page(limit)]:
                other = self._store.judgement_of(mail.account, identity)
                if other is not None:
                    found[other.id] = SimilarMail(other, likeness, "copy" if likeness > 0.9 else "words")
        for text, cause in ((mail.sender, "sender"), (mail.sender_domain, "sender"), (mail.subject, "words")):
            if len(found) >= limit or not text.strip():
                continue
            for other in self._store.search(text[:200], limit=20):
                if other.id != mail.id and other.id not in found:
                    found[other.id] = SimilarMail(other, 0.2, cause)
        ranked = sorted(found.values(), key=lambda one: (-one.likeness, -one.judgement.at))[: _page(limit)]
        mails = self._told(one.judgement for one in ranked)
        return tuple(replace(one, judgement=other) for one, other in zip(ranked, mails, strict=True))

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
        return Identified(self._told([found])[0], found.identity, found.account)

    def whereabouts(self, judgement_id: int) -> Whereabouts:
        """For a mail program that is to open it."""
        mail = self.judgement(judgement_id)
        for seen in self._store.sighting_of(mail.account, mail.identity):
            return Whereabouts(seen.message_id, seen.size, seen.ref.folder)
        raise NotFound("Where this mail lies is not known (any more).")

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
        told = [vector.unpack(vector.pack(vector.vectorise(one))) for one in ends]

        def fits(one: Judgement) -> bool:
            packed = self._store.vector_of(one.account, one.identity)
            if packed is None or vector.schema_of(packed) != vector.SCHEMA:
                return one in sized
            stored = self._vector(one)
            return one in sized if stored is None else any(_same(stored, other) for other in told)

        return [one for one in known if fits(one)]

    # -- why ---------------------------------------------------------------------------------------

    def why(self, judgement_id: int) -> Why:
        """Reads the mail again where it lies; without it, tells what is stored."""
        mail = self.judgement(judgement_id)
        missing, raw = "", None
        try:
            raw = self._engine.fetch_mail(mail.account, mail.identity)
            if raw is None:
                missing = "The mail is not in a folder spamd reads any more, so its words cannot be shown."
        except SpamdError as error:  # no connection, no such account any more, no secret
            missing = f"The mail could not be read now: {error.title}"
        evidence = self.account(mail.account).state.evidence if self._has_account(mail.account) else None
        from spamd.model.explanation import look_at, parts

        known = self._evidence().get(mail.account)
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
            return look_at(raw, self._scorer, stored, line)
        except ModelError as error:  # of another version: what is stored can still be told
            return replace(stored, missing=f"The mail could not be scored again: {error.title}")

    def try_mail(self, raw: bytes) -> Why:
        """What would be said of this mail now. Nothing is stored."""
        from spamd.model.explanation import look_at

        if not raw.strip():
            raise RequestError(
                "There is no mail to look at.", "Paste the source of a mail, with its headers."
            )
        card = self._scorer.card
        known = self._evidence()
        evidence = next(
            (known[account.name] for account in self._settings().accounts if account.name in known), None
        )
        junk = (
            evidence.junk_threshold
            if evidence and evidence.junk_threshold is not None
            else card.junk_threshold
        )
        unsure = evidence.unsure_threshold if evidence else 0.5
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
        verdict = (
            Verdict.JUNK
            if why.probability >= junk
            else Verdict.UNSURE
            if why.probability >= unsure
            else Verdict.KEEP
        )
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

    # -- review: the person's word -----------------------------------------------------------------

    def review(self, limit: int = 20) -> tuple[ReviewItem, ...]:
        """What the person's word is wanted on: contradictions, then doubt, then "would have moved"."""
        limit = _page(limit)
        items: dict[int, ReviewItem] = {}
        for label in self._store.labels(held=True):
            mail = self._store.judgement_of(label.account, label.identity)
            if mail is not None and mail.id not in items:
                why = "but everything else says the opposite"
                if _at_once(label):
                    why = "but together with very many others"
                items[mail.id] = ReviewItem(
                    mail,
                    "held",
                    f"This would be learned as {_word(label.label)} ({_source_word(label.source)}), {why}. Which is it?",
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
                    f"You said that this is {_word(said.label)}. The model is sure of the contrary, and no night has "
                    "learned it yet. Is it so?",
                    said.label,
                    said.id,
                    said.source.value,
                )
        since = self._clock() - REVIEW_WINDOW
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
        mails = self._told(item.judgement for item in items.values())
        return tuple(replace(item, judgement=mail) for item, mail in zip(items.values(), mails, strict=True))

    def review_waiting(self) -> int:
        """At most 100."""
        count: int = self._remember("review", 2.0, lambda: len(self.review(100)))
        return count

    def answer(
        self, judgement_id: int, label: Label, *, source: LabelSource = LabelSource.REVIEW, move: bool = True
    ) -> Answered:
        """The person's word on a mail: taught at once, and the mail goes where it belongs."""
        mail = self.judgement(judgement_id)
        before = self._store.label_of(mail.account, mail.identity)
        rescue = label is Label.HAM and move and mail.moved and mail.decision.verdict is Verdict.JUNK
        if rescue and source is LabelSource.REVIEW:
            source = LabelSource.UNDO  # taken out of Junk: by its source the night knows a rescue
        record = self._teach(mail.account, mail.identity, label, source)
        nightly.settle(self._store, mail.account, mail.identity)
        mail = self.judgement(judgement_id)  # it may have been moved this moment
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
        self._forget_kept()
        self._answers[mail.id] = (before, moved)
        while len(self._answers) > 1000:
            self._answers.pop(next(iter(self._answers)), None)
        text = {
            "junk": "Learned as junk; it goes to the Junk folder.",
            "back": "Learned as good; it goes back to where it was.",
            "none": f"Learned as {_word(label)}.",
        }[moved]
        if stays:
            text += " It was put back once, so it stays where it is: drag it, if it should go."
        elif label is Label.SPAM and mail.moved and mail.decision.verdict is Verdict.UNSURE:
            text += " It lies in your folder for doubtful mail: drag it, if it should go to Junk."
        elif label is Label.HAM and moved == "none" and self._in_junk(mail):
            text += " It lies in Junk, where I have not put it: drag it, if it should go back."
        self.feed.publish("verdict", {"id": mail.id, "label": label.value, "move": moved})
        following = next((item.judgement.id for item in self.review(2) if item.judgement.id != mail.id), None)
        return Answered(self.judgement(mail.id), record, moved, text, following)

    def _in_junk(self, mail: Judgement) -> bool:
        junk = self.account(mail.account).state.junk_folder if self._has_account(mail.account) else None
        seen = self._store.sighting_of(mail.account, mail.identity) if junk else []
        return any(one.gone_at is None and one.ref.folder == junk for one in seen)

    def unanswer(self, judgement_id: int) -> Done:
        """Take the last answer on a mail back: what was said before it holds again, and the move is undone."""
        mail = self.judgement(judgement_id)
        given = self._answers.pop(judgement_id, None)
        if given is None:
            raise RequestError("There is no answer to take back.", "Labels can be taken back one by one.")
        before, move = given
        self.forget_label(mail.account, mail.identity)
        if before is not None:
            self._store.add_label(replace(before, id=0))
            self._learn(before)
        if move == "back":
            self._engine.file_junk([mail.id])
        elif move == "junk":
            done = self._store.move_of(mail.account, mail.identity)
            if done is not None:
                self._engine.put_back([done.id])
        return Done("The answer was taken back.")

    def _teach(
        self, account: AccountName, identity: Identity, label: Label, source: LabelSource, note: str = ""
    ) -> LabelRecord:
        # Any word that was said before, and the model, would count as newer than this one.
        now = self._clock()
        schedule.require_set_clock(now, "Nothing is learned until it is set right.")
        card = self._scorer.card
        record = self._store.add_label(
            LabelRecord(
                account=account,
                identity=identity,
                label=label,
                source=source,
                weight=1.0,
                at=now,
                model_id=card.id,
                note=note,
            )
        )
        self._learn(record)
        return record

    def _learn(self, record: LabelRecord) -> None:
        packed = self._store.vector_of(record.account, record.identity)
        if packed is not None and not record.held:
            from spamd.message import vector

            with contextlib.suppress(
                SpamdError
            ):  # of an older recipe: it teaches when the mail is read again
                features = vector.unpack(packed)
                self._scorer.teach(features, record.identity, record.label, record.weight, record.at)

    def teach_mail(self, raw: bytes, label: Label, account: str | None = None) -> LabelRecord:
        """A mail handed over as a whole (Try it, add-on): known from now on as one that was there before, taught at once."""
        from spamd.learning.lessons import read_known_mail

        if not raw.strip():
            raise RequestError("There is no mail to learn from.")
        schedule.require_set_clock(self._clock(), "Nothing is learned until it is set right.")
        about = self.account(account or self._first_account()).account
        identity = Identity("hash:" + hashlib.sha256(raw).hexdigest())
        nowhere = MessageRef(FolderName(""), UidValidity(0), Uid(0))
        mail = FetchedMail(Arrival(nowhere, identity, frozenset(), len(raw), 0.0), raw, True)
        judgement, packed = read_known_mail(
            about, self._scorer, mail, label, self._clock(), "It was handed over as a whole."
        )
        self._store.record_judgement(judgement, vector=packed)
        return self._teach(about.name, identity, label, LabelSource.TEACH)

    # -- labels ------------------------------------------------------------------------------------

    def labels(
        self,
        *,
        account: str | None = None,
        since: float | None = None,
        held: bool | None = None,
        source: LabelSource | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> tuple[LabelRecord, ...]:
        """Newest first."""
        found = self._store.labels(
            self._met(account) if account else None,
            since,
            held,
            source,
            before_id=before_id,
            limit=max(1, min(limit, 10_000)),
        )
        return tuple(self._store.weighed(found))

    def set_label(self, account: str, identity: str, label: Label, source: LabelSource) -> LabelRecord:
        name = self.account(account).account.name
        mail = self._store.judgement_of(name, Identity(identity))
        if mail is None:
            raise NotFound("This mail is not known.", "Only mail that was judged or read can be labelled.")
        return self.answer(mail.id, label, source=source).label

    def forget_label(self, account: str, identity: str) -> Done:
        """Take one label back, exactly: the model scores as if it had never been."""
        if not self._store.forget_label(AccountName(account), Identity(identity)):
            raise NotFound("There is no such label.")
        if self._store.is_labelled(Identity(identity)):
            self._engine.rebuild_scores()  # the same mail in another account: what was said there holds
        else:
            self._scorer.forget(Identity(identity))
        nightly.settle(self._store, AccountName(account), Identity(identity))
        self._forget_kept()
        return Done("The label was taken back. The next night trains without it.")

    def held_back(self, account: AccountName | None = None) -> list[LabelRecord]:
        """What the person (or a program) did to so many mails at once that it is asked about."""
        return [one for one in self._store.labels(account, held=True) if _at_once(one)]

    def answer_held(self, mine: bool, account: str | None = None) -> Done:
        """All of that at once. mine: it counts from now on; else what was said of each mail before holds again."""
        name = self.account(account).account.name if account else None
        found = self.held_back(name)
        if not found:
            return Done("Nothing is held back because it was very much at once.")
        with self._store.transaction():
            for one in found:
                if mine:
                    self._store.release(one.account, one.identity)
                else:
                    self._store.withdraw(one.account, one.identity)
            for event in self._store.events(needs_person=True, account=name, kind="correction"):
                self._store.settle_event(event.id)
        self._engine.rebuild_scores()
        self._forget_kept()
        what = "1 label" if len(found) == 1 else f"{len(found)} labels"
        return Done(f"Learned: {what}." if mine else f"Forgotten: {what}. The mail stays where it is.")

    def label_of(self, account: AccountName, identity: Identity) -> LabelRecord | None:
        found = self._store.label_of(account, identity)
        return self._store.weighed([found])[0] if found else None

    def mail_of(self, account: AccountName, identity: Identity) -> Judgement | None:
        """The judgement a label or move belongs to, if it is still known."""
        found = self._store.judgement_of(account, identity)
        return self._told([found])[0] if found else None

    def export_labels(self) -> tuple[LabelRecord, ...]:
        return tuple(self._store.ledger())

    def import_labels(self, records: Sequence[LabelRecord]) -> Imported:
        """The person's words from elsewhere, with their history: rescued mail stays rescued on a new installation.

        Also of mail that is not known here yet; it counts when the mail is met. Weak evidence stays weak, what was
        held stays held. Labels of accounts that are not here are skipped.
        """
        now = self._clock()
        schedule.require_set_clock(now, "Nothing is learned until it is set right.")
        known = {view.account.name for view in self.accounts()}
        with self._store.transaction():  # 20,000: 75 s with a commit for each, 2 s so
            there = {(one.account, one.identity, one.label, one.at) for one in self._store.ledger()}
            words = [one for one in records if (one.account, one.identity, one.label, one.at) not in there]
            added = sum(self._import_label(one, now) for one in words if one.account in known)
        if added:
            self._engine.rebuild_scores()
        self._forget_kept()
        return imported(added, len(records) - added)

    def _import_label(self, record: LabelRecord, now: float) -> bool:
        """Does it say anything new?"""
        if not 0 < len(record.identity) <= 1000 or not 0.0 < record.weight <= 1.0 or not record.at >= 0.0:
            return False
        source, note = record.source, record.note
        if source in PERSON_SOURCES:
            source, note = LabelSource.IMPORT, corrections.imported_note(record)
        there = self._store.label_of(record.account, record.identity)
        same = there is not None and there.label is record.label and there.at >= min(record.at, now)
        if there is not None and same and STRENGTH[there.source] >= STRENGTH[source]:
            return False  # it keeps its source. Silence, or the folder it lay in, is less than a word
        self._store.add_label(replace(record, id=0, source=source, note=note, at=min(record.at, now)))
        return True

    # -- undo --------------------------------------------------------------------------------------

    def undo_move(self, judgement_id: int) -> Answered:
        """Put one mail back; it counts as the person's word that it is good."""
        mail = self.judgement(judgement_id)
        done = self._store.move_of(mail.account, mail.identity)
        if done is not None and done.state in OPEN_MOVES:
            raise RequestError("This mail is being moved at this very moment.", "Try again in a moment.")
        if done is None or done.kind is MoveKind.UNDO or not mail.moved:
            raise RequestError("This mail was not moved, so there is nothing to undo.")
        return self.answer(judgement_id, Label.HAM, source=LabelSource.UNDO)

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
        name = self.account(account).account.name if account else None
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
            self._forget_kept()
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

    # -- trends ------------------------------------------------------------------------------------

    def trends(self, days: int = 30) -> Trends:
        days = max(1, min(days, 730))
        trends: Trends = self._remember(f"trends {days}", 60.0, lambda: self._trends(days))
        return trends

    def _trends(self, days: int) -> Trends:
        now = self._clock()
        since = _midnight(_midnight(now) - (days - 1) * DAY + DAY / 2)  # a day with a clock change is no DAY
        return Trends(
            days=days,
            daily=tuple(self._store.daily_counts(since)),
            promises=tuple(self._promise(account) for account in self._settings().accounts),
            calibration=self._calibration(),
            hosts=tuple(HostCount(host, count) for host, count in self._store.link_hosts(since, limit=12)),
            nights=tuple(
                NightView(
                    card.id,
                    card.created_at,
                    card.labels.get("ham", 0),
                    card.labels.get("spam", 0),
                    dict(card.figures),
                    tuple(card.reasons),
                )
                for card in sorted(self._bundles.list(), key=lambda card: card.created_at)
                if not card.id.startswith("base-")
            ),
        )

    def _promise(self, account: Account) -> PromiseCheck:
        """Good mail of 90 days: what stayed, and what we moved to Junk and the person fetched out again."""
        since = self._clock() - 90 * DAY
        buried = self._store.buried(account.name, since)
        kept = self._store.counts(account.name, since).get(Verdict.KEEP.value, 0)
        total = kept + buried
        return PromiseCheck(
            account=account.name,
            promise=account.promise,
            ham=total,
            buried=buried,
            share=buried / total if total else None,
            upper=upper_bound(buried, total) if total else None,
        )

    def shadow(self, days: int = 7, account: str | None = None) -> tuple[Shadow, ...]:
        """Per account: what would have been moved in the last days at the threshold that would hold now, and what
        the person said of it.
        """
        days = max(1, min(days, 90))
        views = [self.account(account)] if account else self.accounts()
        return tuple(
            self._remember(f"shadow {view.account.name} {days}", 5.0, partial(self._shadow, view, days))
            for view in views
        )

    def _shadow(self, view: AccountView, days: int) -> Shadow:
        since = self._clock() - days * DAY
        evidence = self._evidence().get(view.account.name)
        proven = evidence is not None and evidence.junk_threshold is not None
        threshold = (
            evidence.junk_threshold
            if evidence is not None and evidence.junk_threshold is not None
            else self._scorer.card.junk_threshold
        )
        found: dict[str, list[ShadowMail]] = {outcome: [] for outcome in ("wrong", "missed", "open", "right")}
        line = evidence.told if evidence is not None else calibration.AS_IT_IS
        counts, judged = Counter[str](), 0
        for mail, first in self._store.first_scores(view.account.name, since):
            judged += 1
            outcome = shadow.outcome(mail, first, threshold)
            if outcome is not None:
                counts[outcome] += 1
                if len(found[outcome]) < SHADOW_SHOWN:
                    found[outcome].append(ShadowMail(self._told([mail])[0], told(first, line), outcome))
        return Shadow(
            account=view.account.name,
            mode=view.state.mode,
            since=since,
            judged=judged,
            threshold=told(threshold, line),
            proven=proven,
            right=counts["right"],
            wrong=counts["wrong"],
            open=counts["open"],
            missed=counts["missed"],
            mails=tuple(itertools.chain(*found.values()))[:SHADOW_SHOWN],
            text=_shadow_text(counts, judged, days, view.state.mode),
        )

    def _calibration(self) -> tuple[CalibrationBin, ...]:
        """Mail by the probability it was given before it was learned, as it would be told now, and how much of it was spam."""
        counts, spams = Counter[int](), Counter[int]()
        sums = [0.0] * len(CALIBRATION_EDGES)
        lines = {account: known.told for account, known in self._evidence().items()}
        for account in self._settings().accounts:
            line = lines.get(account.name, calibration.AS_IT_IS)
            for given, label, _, _ in self._store.evidence_points(account.name):
                probability = told(given, line)
                place = (
                    min(bisect.bisect_right(CALIBRATION_EDGES, probability), len(CALIBRATION_EDGES) - 1) - 1
                )
                counts[place] += 1
                sums[place] += probability
                spams[place] += label is Label.SPAM
        return tuple(
            CalibrationBin(low, high, sums[n] / counts[n], spams[n] / counts[n], counts[n])
            for n, (low, high) in enumerate(itertools.pairwise(CALIBRATION_EDGES))
            if counts[n]
        )

    # -- models ------------------------------------------------------------------------------------

    def models(self) -> Models:
        cards = sorted(self._bundles.list(), key=lambda card: -card.created_at)
        shipped = next((card.id for card in cards if card.id.startswith("base-")), None)
        current = self._scorer.card
        can_train, hint = _trainer()
        waiting = self._store.labels_since(current.known_until)
        return Models(
            current=current,
            cards=tuple(cards),
            shipped=shipped,
            can_train=can_train,
            training_hint=hint,
            progress=next((one for one in self._engine.progress() if one.kind == "train"), None),
            labels_waiting=waiting,
            history=tuple(
                sorted(
                    (e for kind in ("night", "model") for e in self._store.events(20, kind=kind)),
                    key=lambda event: -event.id,
                )
            ),
            unusable=self._bundles.unusable(),
        )

    def progress(self) -> tuple[Progress, ...]:
        return tuple(self._engine.progress())

    def train_now(self, *, from_scratch: bool = False) -> Done:
        can, hint = _trainer()
        if not can:
            raise RequestError("Training is not possible here.", hint)
        self._engine.train(from_scratch)
        return Done("Training has begun. A new model is taken only if it proves better.")

    def roll_back(self, to: str | None = None) -> ModelCard:
        """To a model kept on disk; None: the one before."""
        if to is not None and to not in {card.id for card in self._bundles.list()}:
            raise NotFound(f"There is no model {_short(to)!r}.", "The Model page lists those that are kept.")
        with self._changing:
            before = self._bundles.current().card.id
            bundle = self._bundles.roll_back(ModelId(to) if to else None)
            self._scorer.reload()
        if to is None and bundle.card.id == before:
            raise RequestError(f"Nothing to go back to: {before} serves already.", "See the list of models.")
        return self._changed_model(bundle.card, "went back to")

    def reset_model(self) -> ModelCard:
        """Back to the shipped model. Labels stay, so the next night learns from them afresh."""
        with self._changing:
            bundle = self._bundles.reset()
            self._scorer.reload()
        return self._changed_model(bundle.card, "was reset to")

    def _changed_model(self, card: ModelCard, verb: str) -> ModelCard:
        self._engine.rebuild_scores()
        self._store.add_event("model", f"The model {verb} {card.id}, because the person asked.")
        self._forget_kept()
        self.feed.publish("state", {"model": card.id})
        return card

    # -- accounts ----------------------------------------------------------------------------------

    def find_servers(self, address: str, *, look_up: bool = False) -> tuple[ServerGuess, ...]:
        address = address.strip()
        name, at, domain = address.rpartition("@")
        if not (name and at and "." in domain) or len(address) > 254 or any(c.isspace() for c in address):
            raise RequestError("This is not a mail address.", "It looks like name@example.org.")
        return tuple(self._engine.find_servers(address, look_up=look_up))

    def check_account(self, account: Account, secret: str | None) -> AccountCheck:
        """Try an account that is not added yet."""
        self._check_new(account)
        return self._engine.check_account(account, secret)

    def _check_new(self, account: Account) -> None:
        settings.check_account_name(account.name)
        settings.check_account(account)
        now = self._settings()
        if (twin := now.same_mailbox(account)) is not None:
            raise RequestError(
                f"This mailbox is looked after already, as {twin.name}.",
                "A new password is set on its page.",
            )
        if now.account(account.name) is not None:
            raise RequestError(f"There is already an account {account.name!r}.", "Choose another name.")

    def test_account(self, name: str, secret: str | None = None) -> AccountCheck:
        """Try an account that is there, with its stored secret or with a new one."""
        return self._engine.check_account(self.account(name).account, secret)

    def add_account(self, account: Account, secret: str | None) -> AccountView:
        """The secret goes to the keyring first: an account without one would only fail."""
        with self._changing:
            self._check_new(account)
            if secret:
                self._vault().set(account.name, secret)
            elif account.auth is AuthMethod.OAUTH:
                self._store.set_state(f"{NEVER_SIGNED_IN}{account.name}", str(self._clock()))
            settings.add_account(self._paths.config_file, account)
        return self._after_account(account.name, "was added")

    def set_secret(self, name: str, secret: str) -> AccountView:
        if not secret:
            raise RequestError("The password is empty.")
        self._vault().set(self.account(name).account.name, secret)
        return self._after_account(name, "has a new password")

    def sign_in(self, name: str) -> SignIn:
        return self._engine.sign_in(self.account(name).account)

    def sign_in_ended(self, name: AccountName) -> None:
        """With or without a grant. An account that was added to be signed in to, and never was, goes again: it would only
        ask for it for ever.
        """
        key = f"{NEVER_SIGNED_IN}{name}"
        if not self._store.state(key):
            return
        try:
            self._vault().get(name)
        except SecretMissing:
            if self._settings().account(name) is not None:
                with contextlib.suppress(DoneInPart):  # it is gone, and nothing was learned of it
                    self.remove_account(name)
        except CredentialError:
            return  # a locked keyring says nothing
        else:
            self._store.set_state(key, "")

    def end_sign_ins(self) -> None:
        """At the start: those that an earlier program had begun. Nobody listens for what the provider says to it."""
        for account in self._settings().accounts:
            self.sign_in_ended(account.name)

    def update_account(self, name: str, changes: Mapping[str, object]) -> AccountView:
        """Change settings of an account; None takes one back to its default. Not: paths and commands."""
        self.account(name)
        forbidden = {"path", "password_command", "ca_file", "kind", "name"} & set(changes)
        if forbidden:
            raise RequestError(f"{', '.join(sorted(forbidden))} can only be changed in config.toml.")
        with self._changing:
            settings.update_account(self._paths.config_file, name, **changes)
        return self._after_account(name, "was changed")

    def set_mode(self, name: str, mode: Mode | None) -> AccountView:
        """None: as the evidence allows."""
        view = self.update_account(name, {"mode": mode})
        self._store.add_event(
            "mode", f"Mode set to {mode.value if mode else 'automatic'}.", account=view.account.name
        )
        return view

    def remove_account(self, name: str, *, wipe: bool = False) -> Done:
        """Stop filtering it. wipe: forget all that was learned from it, too.

        DoneInPart: it is removed, but its password, its grant at the provider or what was learned is still there.
        """
        account = self.account(name).account
        text = f"The account {account.name} was removed. No mail was touched."
        left: dict[str, SpamdError] = {}
        grant = ""
        with self._changing:
            settings.remove_account(self._paths.config_file, name)
            if account.kind is SourceKind.IMAP:  # else it has no password
                try:
                    grant = forget_secret(account, self._vault())
                except CredentialError as exc:
                    left["Its password could not be removed"] = exc
        self._engine.reload_settings()
        self._forget_kept()
        if grant:  # nothing uses it any more
            try:
                end_sign_in(account, grant, self._paths)
            except SignInError as exc:
                left["Its sign-in could not be ended"] = exc
        try:
            self._store.set_state(f"{NEVER_SIGNED_IN}{account.name}", "")
            self._store.add_event("account", f"Account {account.name} was removed.")
            if wipe:
                self._wipe(f"account:{account.name}")
        except StoreError as exc:
            left[
                "What was learned of it could not be wiped for good" if wipe else "It could not be noted"
            ] = exc
        self.feed.publish("state", {"account": account.name})
        if left:
            raise DoneInPart.after(text, left)
        return Done(text)

    def _after_account(self, name: str, what: str) -> AccountView:
        self._engine.reload_settings()
        self._forget_kept()
        self._store.add_event("account", f"Account {name} {what}.", account=AccountName(name))
        self.feed.publish("state", {"account": name})
        return self.account(name)

    def pause(
        self, *, account: str | None = None, seconds: float | None = None, until: float | None = None
    ) -> Done:
        name = self.account(account).account.name if account else None
        if seconds is not None:
            if not 0 < seconds <= 365 * DAY:
                raise RequestError("A pause is between a second and a year.")
            until = self._clock() + seconds
        if until is not None and until <= self._clock():
            raise RequestError("This time is over already.")
        self._engine.pause(name, until)
        self._said(name, "Paused.")
        return Done("Paused. New mail stays where it is." if until is None else "Paused for a while.")

    def resume(self, account: str | None = None) -> Done:
        name = self.account(account).account.name if account else None
        self._engine.resume(name)
        self._said(name, "Resumed.")
        return Done("Filtering goes on.")

    def go_on(self, account: str) -> Done:
        name = self.account(account).account.name
        self._engine.go_on(name)
        self._said(name, "The brake was released, because the person looked at it.")
        return Done("The brake is released.")

    def wake(self, account: str | None = None) -> Done:
        self._engine.wake(self.account(account).account.name if account else None)
        return Done("Looking for new mail now.")

    def first_reading(self, account: str) -> Done:
        self._engine.start_first_reading(self.account(account).account.name)
        return Done("Reading of the existing folders has begun.")

    def _said(self, account: AccountName | None, text: str) -> None:
        self._store.add_event("account", text, account=account)
        self._forget_kept()
        self.feed.publish("state", {"account": account})

    # -- lists -------------------------------------------------------------------------------------

    def lists(self) -> tuple[ListEntry, ...]:
        return tuple(sorted(self._store.list_entries(), key=lambda entry: (entry.label, entry.value)))

    def add_to_list(self, value: str, label: Label, expires_at: float | None = None) -> ListEntry:
        value = list_value(value)
        if expires_at is not None and expires_at <= self._clock():
            raise RequestError("This time is over already.")
        return self._store.add_list_entry(ListEntry(value, label, self._clock(), expires_at))

    def remove_from_list(self, value: str) -> Done:
        if not self._store.remove_list_entry(value):
            raise NotFound("This is not on a list.")
        return Done(f"{value} is on no list any more.")

    # -- settings, log -----------------------------------------------------------------------------

    def settings(self) -> tuple[SettingView, ...]:
        now = self._settings()
        return tuple(
            SettingView(
                option.name,
                option.title,
                "choice" if option.choices else option.kind.__name__,
                _setting_text(getattr(now, option.name)),
                _setting_text(option.default),
                option.help,
                option.choices,
            )
            for option in settings.OPTIONS
        )

    def set_settings(self, changes: Mapping[str, str]) -> tuple[SettingView, ...]:
        """Values as typed; all or nothing. Keeping less of mails for display wipes what is there."""
        values = {name: settings.from_text(name, text) for name, text in changes.items()}
        with self._changing:
            moved = self._carry_secrets(values.get("secrets"))
            display = settings.save(self._paths.config_file, values).display
            for name, old in moved:
                with contextlib.suppress(SpamdError):
                    old.delete(name)
        self._store.set_display(next(one for one in DISPLAYS if one == display))
        self._engine.reload_settings()
        self._forget_kept()
        self.feed.publish("state", {"settings": sorted(values)})
        return self.settings()

    def reload_settings(self) -> Done:
        self._engine.reload_settings()
        self._forget_kept()
        return Done("The settings were read again.")

    def events(
        self,
        *,
        limit: int = 100,
        before_id: int | None = None,
        needs_person: bool | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> tuple[EventRecord, ...]:
        """Newest first."""
        wanted, found = _page(limit), list[EventRecord]()
        while len(found) < wanted:
            batch = self._store.events(MAX_PAGE, before_id, needs_person)
            found += [event for event in batch if _within(event.at, since, until)]
            if len(batch) < MAX_PAGE or (since is not None and batch[-1].at < since):
                break
            before_id = batch[-1].id
        return tuple(found[:wanted])

    def settle_event(self, event_id: int) -> Done:
        """The person has seen to it."""
        if not self._store.settle_event(event_id):
            raise NotFound("There is nothing to settle.")
        self.feed.publish("state", {"event": event_id})
        return Done("Settled.")

    def wipe(self, what: str) -> Wiped:
        """what: "display" (senders, subjects, snippets), "account:NAME" (all of one), or "all"."""
        kind, _, account = what.partition(":")
        if what not in ("display", "all") and not (kind == "account" and account):
            raise RequestError('What to wipe is "display", "account:NAME" or "all".')
        if account:
            self._met(account)
        self._wipe(what)
        self._kept = {}
        return Wiped(what, "Wiped, and the file was cleaned so that nothing can be read back.")

    def _wipe(self, what: str) -> None:
        try:
            nightly.wipe(self._store, self._bundles, what)
        finally:  # removed it is in any case, though another program may still read the old pages
            if what != "display":
                self._scorer.reload()
                self._engine.rebuild_scores()

    def stop(self) -> Done:
        self._engine.stop()
        return Done("spamd is stopping.")

    def secret_place(self) -> str:
        """Where passwords are now, in words; or why they cannot be reached."""

        def ask() -> str:
            try:
                return self._vault().describe()
            except SpamdError as error:
                return str(error)

        place: str = self._remember("secret place", 60.0, ask)  # a keyring that hangs takes its time
        return place

    def _vault(self) -> Secrets:
        """Where secrets are, by the settings of now."""
        from spamd.credentials import Secrets

        now = self._settings()
        if now.secrets != self._secrets_kind:
            self._secrets = Secrets.choose(now, self._paths)
            self._secrets_kind = now.secrets
        return self._secrets

    def _carry_secrets(self, kind: object) -> list[tuple[AccountName, Secrets]]:
        """Passwords move along to where they will be from now on; those copied, to be removed from the old place.

        CredentialError: the new place cannot be used; nothing has changed then.
        """
        from spamd.credentials import Secrets

        now = self._settings()
        if kind not in ("keyring", "file") or kind == now.secrets:
            return []
        old, new = self._vault(), Secrets.choose(replace(now, secrets=str(kind)), self._paths)
        moved = []
        for account in now.accounts:
            try:
                secret = old.get(account.name)
            except SpamdError:
                continue  # none there, or it cannot be reached: the account will ask
            new.set(account.name, secret)
            moved.append((account.name, old))
        return moved

    # -- inside ------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        """As in the file now; while the file is broken, as they were before (the daemon does the same)."""
        path = self._paths.config_file
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            stamp = 0
        kept = self._loaded
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            loaded = settings.load(path)
        except ConfigError:
            if kept is None:
                raise
            return kept[1]
        self._loaded = (stamp, loaded)
        return loaded

    def _remember(self, key: str, seconds: float, work: Callable[[], Any]) -> Any:
        """A slow answer, at most so many seconds old. Two threads may both work it out: harmless."""
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        answer = work()
        self._kept[key] = (now + seconds, answer)
        return answer

    def _forget_kept(self) -> None:
        """After a change. Trends may be a minute old: one answer among thousands of mails does not show there."""
        self._kept = {key: kept for key, kept in self._kept.items() if key.startswith("trends")}

    def _has_account(self, name: str) -> bool:
        return self._settings().account(name) is not None

    def _first_account(self) -> AccountName:
        accounts = self._settings().accounts
        if not accounts:
            raise RequestError(
                "There is no account yet.", "Add one first: what is learned belongs to an account."
            )
        return accounts[0].name


def list_value(text: str) -> str:
    """An address or a domain in the form lists hold it. RequestError for anything else."""
    value = text.strip().strip("<>").lower().removeprefix("@").rstrip(".")
    name, at, domain = value.rpartition("@")
    plain = value.isprintable() and not any(c.isspace() or c in '<>"(),;:\\' for c in value)
    labels = domain.split(".")
    if not (plain and len(value) <= 254 and len(labels) > 1 and all(labels) and (name or not at)):
        raise RequestError(
            f"{_short(text)!r} is neither an address nor a domain.", 'Such as "a@b.example" or "b.example".'
        )
    return value


def _shadow_text(counts: Mapping[str, int], judged: int, days: int, mode: Mode) -> str:
    """ "This week, had it been filtering, 12 of 140 mails would have been moved: 9 right, 1 wrong, 2 without ..."."""
    span = "This week" if days == 7 else f"In the last {days} days" if days > 1 else "Today"
    if not judged:
        return f"{span} no mail was judged."
    moved = counts["right"] + counts["wrong"] + counts["open"]
    were = "was" if moved == 1 else "were"
    what = f"{were} or would be moved" if mode is Mode.FILTERING else "would have been moved"
    text = f"{span} {moved} of {judged} {'mail' if judged == 1 else 'mails'} {what}"
    if moved:
        parts = [f"{counts['right']} right", f"{counts['wrong']} wrong"]
        if counts["open"]:
            parts.append(f"{counts['open']} without your word")
        text += f": {', '.join(parts)}"
    if counts["missed"]:
        text += f". Of what you called junk, {counts['missed']} would have stayed"
    return text + "."


def _midnight(now: float) -> float:
    """The last local midnight."""
    local = datetime.fromtimestamp(now, UTC).astimezone()
    return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _as_told(evidence: Evidence | None) -> Evidence | None:
    """Its thresholds as they are told, by the line by which mail is told; nothing is left to do by that line then."""
    if evidence is None:
        return None
    junk, line = evidence.junk_threshold, evidence.told
    return replace(
        evidence,
        junk_threshold=None if junk is None else told(junk, line),
        unsure_threshold=told(evidence.unsure_threshold, line),
        told=calibration.AS_IT_IS,
    )


def _page(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _within(at: float, since: float | None, until: float | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def _short(text: str) -> str:
    return _clip(text, 60)


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _at_once(held: LabelRecord) -> bool:
    """Is it held because it was one of very many? What the person does is never held for anything else."""
    return held.source in PERSON_SOURCES or held.note.endswith(corrections.AT_ONCE)


def _word(label: Label) -> str:
    return "junk" if label is Label.SPAM else "good mail"


def _source_word(source: LabelSource | str) -> str:
    return SOURCE_WORDS.get(LabelSource(source), str(source))


SOURCE_WORDS: dict[LabelSource, str] = {
    LabelSource.DRAG: "you moved it",
    LabelSource.KEYWORD: "marked in a mail program",
    LabelSource.HINT: "a keyword, perhaps of another filter",
    LabelSource.ADDON: "the Thunderbird button",
    LabelSource.REVIEW: "your answer here",
    LabelSource.UNDO: "you put it back",
    LabelSource.TEACH: "handed over as a mail",
    LabelSource.FOLDER: "found in a folder at the first reading",
    LabelSource.IMPORT: "imported",
    LabelSource.IMPLICIT: "kept or answered",
}


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _account_headline(account: Account, state: AccountState) -> str:
    """Mode and evidence in a sentence."""
    phase = {
        AccountPhase.PAUSED: "Paused: new mail stays where it is.",
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


def _headline(accounts: Iterable[AccountView]) -> str:
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
        return "Paused."
    return "Watching your mail."


def _same(one: StoredVector, other: StoredVector) -> bool:
    import numpy as np

    return (
        np.array_equal(one.base_ids, other.base_ids)
        and np.array_equal(one.personal_ids, other.personal_ids)
        and np.array_equal(one.fingerprint, other.fingerprint)
        and np.array_equal(one.dense, other.dense, equal_nan=True)
    )


def _trainer() -> tuple[bool, str]:
    """Whether the training extra is installed, without importing it."""
    import importlib.util

    from spamd.trainer import how_to_install

    if importlib.util.find_spec("tensorflow") is not None:
        return True, ""
    return False, f"The training extra is not installed: {how_to_install()}"
