"""The words: values that travel between rooms. No behaviour beyond trivial properties.

Times are Unix seconds (float).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

AccountName = NewType("AccountName", str)
FolderName = NewType("FolderName", str)  # decoded for people; sessions map it to the raw name
Uid = NewType("Uid", int)
UidValidity = NewType("UidValidity", int)
Identity = NewType("Identity", str)
"""What names one mail across folders: "emailid:…", "gmail:…", "guid:…", or "hash:…" (header, size, date)."""
ModelId = NewType("ModelId", str)  # "base-<10 hex>" or "personal-<10 hex>"

INBOX = FolderName("INBOX")


class Verdict(enum.StrEnum):
    KEEP = "keep"
    UNSURE = "unsure"
    JUNK = "junk"


class Label(enum.StrEnum):
    HAM = "ham"
    SPAM = "spam"


class LabelSource(enum.StrEnum):
    DRAG = "drag"  # moved between folders by the person
    KEYWORD = "keyword"  # $Junk/$NotJunk set on a mail we had stamped
    HINT = "hint"  # keyword on a mail we had not stamped: Thunderbird's own filter writes them too
    ADDON = "addon"
    REVIEW = "review"  # an answer on a page or the command line
    UNDO = "undo"  # the person took our move back
    TEACH = "teach"  # an .eml dropped into the teach folder
    FOLDER = "folder"  # first reading of existing folders
    IMPORT = "import"
    IMPLICIT = "implicit"  # kept, answered, left alone: weak


class Mode(enum.StrEnum):
    LEARNING = "learning"  # watch only
    SUGGESTING = "suggesting"  # list what looks like junk, move nothing
    FILTERING = "filtering"


class TlsMode(enum.StrEnum):
    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"  # loopback only


class AuthMethod(enum.StrEnum):
    PASSWORD = "password"
    OAUTH = "oauth"


class SourceKind(enum.StrEnum):
    IMAP = "imap"
    MAILDIR = "maildir"
    MBOX = "mbox"


class MoveState(enum.StrEnum):
    INTENT = "intent"  # written before anything is sent
    COPIED = "copied"  # without MOVE: the copy is there
    MARKED = "marked"  # without MOVE: the source is \\Deleted, or about to be
    DONE = "done"
    ABANDONED = "abandoned"  # someone else acted, or the folder changed; nothing of ours remains to be done
    FAILED = "failed"  # refused by the server; the mail is where it was


OPEN_MOVES = frozenset({MoveState.INTENT, MoveState.COPIED, MoveState.MARKED})


HELD_BY_OTHERS = "Another program is moving it."
OTHERS_WERE_FASTER = "Another program was faster."
TARGET_CHANGED = "The target folder has changed."
TRY_AGAIN = frozenset({HELD_BY_OTHERS, OTHERS_WERE_FASTER, TARGET_CHANGED})
"""Why a move was abandoned (MoveRecord.error) on which nobody has decided: both may have withdrawn. Where the mail stays in
its folder, it is tried again like one that the server refused."""

MOVING_KEYWORD = "$SpamdMoving"
"""Held on a mail while one daemon moves it; a daemon on another computer that sees it keeps away."""
OWNER_KEYWORD = "$SpamdBy-"
"""Comes with it, followed by the name of the journal that holds the lock: nobody else takes it off."""
MOVED_KEYWORD = "$SpamdMoved"
"""Set together with the lock and never taken off a mail that was moved by itself: other daemons on the mailbox see
that this was no drag, and a mail that carries it outside of Junk is one that the person took out again."""
RETURNED_KEYWORD = "$SpamdReturned"
"""Set on mail that is put back among many ("all moves of this model"): of which the person has said nothing, for no
daemon. It stays on it like the other one; a later drag is then seen by what the mail had before."""
STAMPED_KEYWORD = "$SpamdStamped"
"""Comes with the Junk or NonJunk that a daemon writes: other daemons see that it was not the person."""


class MoveKind(enum.StrEnum):
    JUNK = "junk"
    UNSURE = "unsure"  # to the person's own folder for doubtful mail
    UNDO = "undo"  # put back


@dataclass(frozen=True, slots=True)
class Account:
    """One mailbox, as the person set it up. `junk` None means: find it."""

    name: AccountName
    kind: SourceKind = SourceKind.IMAP
    host: str = ""
    port: int = 0  # 0: the usual one for the TLS mode
    user: str = ""
    tls: TlsMode = TlsMode.IMPLICIT
    ca_file: str = ""
    auth: AuthMethod = AuthMethod.PASSWORD
    oauth_provider: str = ""  # row of mailbox/oauth.py PROVIDERS
    password_command: str = ""
    path: str = ""  # maildir and mbox
    junk: FolderName | None = None
    unsure_folder: FolderName | None = None
    gmail_label: str = "Junk?"  # on Gmail, until the account filters, instead of any move; "none": no label
    mode: Mode | None = None  # None: evidence decides; else the person's word
    promise: float = 0.001  # good mail in Junk, at most this share
    stamp: bool = False  # write NonJunk/Junk on judged mail
    wait_seconds: float = 0.0  # between arrival and move
    max_moves_per_hour: int = 200
    paused: bool = False

    @property
    def doubt_label(self) -> FolderName | None:
        """Where the server has labels: what junk and doubtful mail is marked with until the account filters."""
        name = self.unsure_folder or self.gmail_label.strip()
        return FolderName(name) if name and name.lower() != "none" else None


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """STATUS of a folder (RFC 3501 6.3.10; HIGHESTMODSEQ RFC 7162)."""

    folder: FolderName
    uid_validity: UidValidity
    uid_next: Uid
    messages: int
    highest_modseq: int | None = None


@dataclass(frozen=True, slots=True)
class MessageRef:
    """Where one mail lies. Valid only while the folder's UIDVALIDITY stays the same."""

    folder: FolderName
    uid_validity: UidValidity
    uid: Uid


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail seen in a folder, without its text."""

    ref: MessageRef
    identity: Identity
    flags: frozenset[str]  # as the server spells them
    size: int  # bytes
    internal_date: float
    message_id: str = ""  # header, without angle brackets; may be "" or repeated by other mail


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail with (the first part of) its bytes."""

    arrival: Arrival
    raw: bytes  # at most the limit asked for
    complete: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the store knows of a mail in a folder."""

    account: AccountName
    ref: MessageRef
    identity: Identity
    keywords: frozenset[str] = frozenset()
    seen_at: float = 0.0  # when we first saw it there
    gone_at: float | None = None
    message_id: str = ""
    size: int = 0
    internal_date: float = 0.0


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a score. contribution: change of the probability's log odds (natural; positive: towards spam)."""

    kind: str  # "word", "link", "fact", "sender", "copy", "imitation"
    text: str  # as the model names it; plain text
    contribution: float
    place: str = ""  # where it lies, in words: "links"
    words: str = ""  # what it is, in words: "host names with digits"


@dataclass(frozen=True, slots=True)
class Score:
    """What the model says of one mail."""

    probability: float  # calibrated, 0..1
    logit: float  # alpha*base + personal + instant, before calibration
    base_logit: float
    model_id: ModelId
    copy_of: Label | None = None  # near-copy of a mail the person just corrected


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    move: bool  # to Junk (or the unsure folder when verdict is UNSURE)
    reason: str  # machine word: "score", "allowed", "blocked", "rescued", "learning", "brake", "paused", ...
    explanation: str  # one sentence for the person


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one mail, as stored and shown."""

    id: int  # store's number; 0 before it is stored
    account: AccountName
    identity: Identity
    at: float
    score: Score
    decision: Decision
    sender: str = ""  # "" where the privacy setting keeps nothing
    subject: str = ""
    snippet: str = ""
    sender_domain: str = ""
    link_hosts: tuple[str, ...] = ()
    folder: FolderName = FolderName("INBOX")
    label: Label | None = None  # the person's word, if any
    moved: bool = False
    sender_proof: str | None = None  # message.dense.sender_proof; None: judged by an older version
    left_at: float | None = None  # when it was first seen opened and left in the inbox


class Sender(NamedTuple):
    """Whom a mail says to come from, and what vouches for it (see Judgement)."""

    address: str
    proof: str | None


@dataclass(frozen=True, slots=True)
class Past:
    """What was said of a mail, and done with it, before it is judged."""

    said: Label | None = None  # the person's word that holds
    rescued: bool = False  # the person said once that it is good
    moved: bool = False  # we moved it once, even if it was put back since


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """One row of the ledger: the person's word (or weak evidence) on one mail."""

    account: AccountName
    identity: Identity
    label: Label
    source: LabelSource
    weight: float  # 1.0 a drag; implicit: judgement/silence.py
    at: float
    model_id: ModelId = ModelId("")
    note: str = ""
    held: bool = False  # contradicts what is known: shown for review, not trained
    id: int = 0


@dataclass(frozen=True, slots=True)
class MoveRecord:
    """One row of the mover's journal (reference: intent before action, COPYUID as proof)."""

    id: int
    account: AccountName
    identity: Identity
    kind: MoveKind
    state: MoveState
    source: MessageRef
    target: FolderName
    target_uid_validity: UidValidity | None
    target_uid_next: Uid | None
    target_uid: Uid | None
    message_id: str
    size: int
    created_at: float
    changed_at: float
    model_id: ModelId = ModelId("")
    error: str = ""


@dataclass(frozen=True, slots=True)
class FolderCursor:
    """How far a folder was read."""

    account: AccountName
    folder: FolderName
    uid_validity: UidValidity
    uid_next: Uid
    highest_modseq: int | None
    messages: int


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something worth telling: shown on the Log page. Never mail text."""

    id: int
    at: float
    kind: str  # "move", "correction", "night", "brake", "error", "mode", "account", "model"
    account: AccountName | None
    text: str
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class ListEntry:
    """The person's own rule: always keep or always junk. value: address a@b.example or domain b.example."""

    value: str
    label: Label
    added_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the model may be trusted on one account. Thresholds are probabilities; None: not to be used."""

    mode: Mode  # what evidence alone allows
    junk_threshold: float | None
    unsure_threshold: float
    ham_count: int
    spam_count: int
    ham_missing: int  # more good mails needed before anything may be moved
    expected_ham_error: float | None  # upper confidence bound, share of good mail
    expected_spam_caught: float | None
    explanation: str
    computed_at: float = 0.0
    told: tuple[float, float] = (1.0, 0.0)  # how a probability is told: judgement/calibration.py


@dataclass(frozen=True, slots=True)
class GateReport:
    """Why a candidate was taken or refused. figures are plain numbers by name.

    waits: there was no candidate, as there is nothing to learn from yet.
    """

    promoted: bool
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)
    waits: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is made of. Lies beside its file as card.json."""

    id: ModelId
    parent: ModelId | None
    created_at: float
    schema: str  # digest of the feature recipe
    sha256: str  # of model.tflite
    architecture: str
    alpha: float
    calibration: tuple[
        float, float
    ]  # probability = sigmoid(a*logit + b): the shipped scale, the same after every night
    labels: dict[str, int] = field(default_factory=dict)  # {"ham": n, "spam": n}
    figures: dict[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    junk_threshold: float = 0.99  # shipped: used before there is evidence
    known_until: float = 0.0  # labels up to this time are in the weights
    notes: str = ""
    files: dict[str, str] = field(default_factory=dict)  # other files of the bundle -> sha256
    taught: str = ""  # digest of the labels up to known_until that it was made from; "": not known
    doubted: tuple[str, ...] = ()  # "account\0identity": labels up to known_until that were left out of it
    overruled: tuple[
        str, ...
    ] = ()  # likewise: labels of mail of which the person has changed their mind since
    sureness: tuple[float, float] | None = (
        None  # a, b by which the gate tells how sure the model is; None: the calibration
    )

    @property
    def sure(self) -> tuple[float, float]:
        """a and b as fitted to held-out labels of the person, as far as there were any of both kinds."""
        return self.calibration if self.sureness is None else self.sureness


@dataclass(frozen=True, slots=True)
class DayCount:
    """What happened on one day (ISO date, this computer's time zone)."""

    day: str
    keep: int = 0
    unsure: int = 0
    junk: int = 0
    moved: int = 0
    false_positives: int = 0  # verdict junk, the person said ham
    missed: int = 0  # verdict keep or unsure, the person said spam
