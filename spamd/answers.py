"""What a person can be told: what `control` answers, and what travels to pages, API, CLI, tray and add-on.

Only data, so that the client (tray, command line) can read answers without loading the store or the model.
Times are Unix seconds. Nothing here holds a secret.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from spamd.domain import (
    Account,
    AccountName,
    DayCount,
    EventRecord,
    Evidence,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    Mode,
    ModelCard,
    ModelId,
    MoveKind,
    MoveState,
    Reason,
    Verdict,
)


class AccountPhase(enum.StrEnum):
    """What an account's worker is doing."""

    STARTING = "starting"
    CONNECTING = "connecting"
    WATCHING = "watching"
    READING = "reading"  # first reading of existing folders
    PAUSED = "paused"
    BRAKE = "brake"  # too many moves at once: waits for the person
    SIGN_IN = "sign-in"  # the server refused: needs the person
    OFFLINE = "offline"  # will try again by itself
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class AccountState:
    """What the daemon knows of one account now."""

    name: AccountName
    phase: AccountPhase
    detail: str = ""  # one sentence for the person
    last_contact: float | None = None
    junk_folder: FolderName | None = None
    mode: Mode = Mode.LEARNING  # in force: the person's word, else evidence
    evidence: Evidence | None = None
    paused_until: float | None = None  # None while paused: until resumed
    folders: tuple[FolderName, ...] = ()
    quirk: str = ""
    remarks: tuple[str, ...] = ()  # what one should know of this kind of server


@dataclass(frozen=True, slots=True)
class Progress:
    """A long piece of work under way (or just ended)."""

    kind: str  # "train" or "first-reading"
    account: AccountName | None
    done: int
    total: int  # 0: not known yet
    text: str
    started_at: float
    finished: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What trying an account found."""

    ok: bool
    text: str  # what happened, for the person
    hint: str = ""
    folders: tuple[FolderName, ...] = ()
    junk_folder: FolderName | None = None
    abilities: tuple[str, ...] = ()  # "move", "idle", …
    inbox_messages: int = 0
    junk_messages: int = 0
    wrong: str = ""  # where not ok, what to correct: "sign-in" (name or password) or "server"
    remarks: tuple[str, ...] = ()  # what one should know of this kind of server
    browser: str = ""  # where the server takes no passwords: the provider to sign in with


@dataclass(frozen=True, slots=True)
class SignIn:
    """How the person signs in with the provider (OAuth)."""

    account: AccountName
    url: str  # to open in the browser
    code: str = ""  # to type there, for the device flow
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ServerGuess:
    """A mail server that may serve an address."""

    account: Account  # everything but the secret
    source: str  # "table", "provider", "guess"
    note: str = ""  # e.g. "needs an app password"


@dataclass(frozen=True, slots=True)
class AccountView:
    account: Account
    state: AccountState
    judged: dict[str, int] = field(default_factory=dict)  # last 30 days: verdict -> n, "moved", "corrected"
    headline: str = ""  # mode and evidence in a sentence


@dataclass(frozen=True, slots=True)
class Status:
    version: str
    now: float
    started_at: float
    accounts: tuple[AccountView, ...]
    today: dict[str, int]  # verdict -> n, "moved", "corrected"
    review_waiting: int
    model: ModelCard | None
    progress: tuple[Progress, ...]
    needs_person: tuple[EventRecord, ...]
    paused: bool  # every account is paused
    headline: str  # one sentence: how things are
    training_hint: str = (
        ""  # how to add the trainer, where it is missing: until then the instant head goes on alone
    )


@dataclass(frozen=True, slots=True)
class ReviewItem:
    judgement: Judgement
    cause: str  # "contradicts", "unsure", "would-move", "held"
    question: str  # one sentence
    suggestion: Label | None = None
    label_id: int | None = None  # the label in question, where cause is "held" or "contradicts"
    source: str = ""  # where the held label came from


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer did."""

    judgement: Judgement
    label: LabelRecord
    move: str  # "junk", "back", "none"
    text: str
    next_id: int | None = None  # the next one waiting for review


@dataclass(frozen=True, slots=True)
class LinkView:
    host: str
    shown: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """One mail: the score and what made it."""

    judgement: Judgement | None  # None: a mail only tried
    verdict: Verdict
    probability: float
    junk_threshold: float | None
    unsure_threshold: float | None
    model_id: ModelId
    explanation: str  # the decision, one sentence
    reasons: tuple[Reason, ...]
    base_logit: float  # what every mailbox would say, log odds
    personal_logit: float  # what was learned here adds: both together make the log odds of the probability
    links: tuple[LinkView, ...] = ()
    tricks: tuple[str, ...] = ()
    visible_text: str = ""
    hidden_text: str = ""
    raw_text: str = ""
    raw_cut: bool = False
    defects: tuple[str, ...] = ()
    missing: str = ""  # why the mail itself could not be read, or ""
    copy_of: Label | None = None
    subject: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class SimilarMail:
    judgement: Judgement
    likeness: float  # 0..1
    cause: str  # "copy", "words", "sender", "link"


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    low: float
    high: float
    mean: float  # mean probability given
    spam_share: float  # share that was spam by the person's word
    count: int


@dataclass(frozen=True, slots=True)
class PromiseCheck:
    """False positives against the promise, one account."""

    account: AccountName
    promise: float
    ham: int  # good mails with the person's word, scored before learned
    buried: int  # of these moved to Junk by us
    share: float | None
    upper: float | None  # 95 % upper bound of the share (Clopper-Pearson)


@dataclass(frozen=True, slots=True)
class HostCount:
    host: str
    count: int


@dataclass(frozen=True, slots=True)
class NightView:
    """One training, as its card tells it."""

    model_id: ModelId
    at: float
    ham: int
    spam: int
    figures: dict[str, float]
    reasons: tuple[str, ...]
    promoted: bool = True


@dataclass(frozen=True, slots=True)
class Trends:
    days: int
    daily: tuple[DayCount, ...]
    promises: tuple[PromiseCheck, ...]
    calibration: tuple[CalibrationBin, ...]
    hosts: tuple[HostCount, ...]
    nights: tuple[NightView, ...]


@dataclass(frozen=True, slots=True)
class ShadowMail:
    """A mail that would have been moved, or should have been."""

    judgement: Judgement
    probability: float  # before anything was learned from this mail
    outcome: str  # "right", "wrong", "open" (no word of the person on it) or "missed" (it would have stayed)


@dataclass(frozen=True, slots=True)
class Shadow:
    """What would have been moved on one account, had it been filtering, against what the person said of it."""

    account: AccountName
    mode: Mode  # in force
    since: float
    judged: int  # mails that came since then
    threshold: float  # probability
    proven: bool  # the threshold is that of the evidence; False: the shipped model's own
    right: int
    wrong: int
    open: int
    missed: int
    mails: tuple[ShadowMail, ...]  # wrong first, then missed, open, right; the newest first, 100 at most
    text: str  # the figures in a sentence

    @property
    def would_move(self) -> int:
        return self.right + self.wrong + self.open


@dataclass(frozen=True, slots=True)
class Models:
    current: ModelCard | None
    cards: tuple[ModelCard, ...]  # newest first; the shipped one last
    shipped: ModelId | None
    can_train: bool
    training_hint: str
    progress: Progress | None
    labels_waiting: int  # labels the current model has not seen
    history: tuple[EventRecord, ...]
    unusable: dict[ModelId, str] = field(default_factory=dict)  # of the cards, which are damaged, and how


@dataclass(frozen=True, slots=True)
class UndoItem:
    move_id: int
    account: AccountName
    judgement_id: int | None
    at: float
    kind: MoveKind
    state: MoveState
    sender: str
    subject: str
    source: FolderName
    target: FolderName
    model_id: ModelId


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What an undo will do (dry run), or was started."""

    dry_run: bool
    count: int
    items: tuple[UndoItem, ...]  # the newest 200
    skipped: int  # moves that are already undone, or still under way
    text: str


@dataclass(frozen=True, slots=True)
class SettingView:
    name: str  # in config.toml
    title: str  # for a person
    kind: str  # "bool", "int", "float", "str", "choice"
    value: str
    default: str
    help: str
    choices: tuple[str, ...] = ()
    by_hand: bool = False  # only on the command line, or in config.toml: it names a file


@dataclass(frozen=True, slots=True)
class Imported:
    added: int
    skipped: int
    text: str


def imported(added: int, skipped: int) -> Imported:
    were = "label was" if added == 1 else "labels were"
    why = "known, of no account that is here, or no labels"
    return Imported(added, skipped, f"{added} {were} added, {skipped} skipped ({why}).")


class Level(enum.StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the doctor looked at."""

    area: str  # "account", "keyring", "model", "training", "store", "clock", …
    level: Level
    text: str
    hint: str = ""
    account: AccountName | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """For the add-on: what is known of a mail by its Message-ID."""

    judgement: Judgement | None
    identity: Identity | None
    account: AccountName | None
    doubtful: bool = False  # mail with this Message-ID is known, but is it this one? Its bytes tell


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a judged mail was seen last, in words a mail program can search by."""

    message_id: str  # without angle brackets; "": it has none
    size: int  # bytes
    folder: FolderName


@dataclass(frozen=True, slots=True)
class Wiped:
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out (or begun)."""

    text: str


@dataclass(frozen=True, slots=True)
class Happening:
    """Told to every open page, tray and add-on. `kind`: "verdict", "progress" or "state"."""

    kind: str
    data: dict[str, object]
    at: float


Publish = Callable[[str, Mapping[str, object]], None]
"""Tells of a happening: its kind and its data."""


class TellPerson(Protocol):
    """Writes down an event for the person; never raises, as what it tells of has happened all the same."""

    def __call__(
        self, kind: str, text: str, *, account: AccountName | None = None, needs_person: bool = False
    ) -> None: ...
