"""A small world for the pages: a real store with seeded mail, a real scorer, and a daemon's edge played by hand."""

from __future__ import annotations

import atexit
import functools
import random
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from spamd import settings
from spamd.answers import (
    AccountCheck,
    AccountPhase,
    AccountState,
    Progress,
    ServerGuess,
    SignIn,
)
from spamd.control import Control
from spamd.credentials import FileSecrets, Secrets
from spamd.domain import (
    Account,
    AccountName,
    AuthMethod,
    Decision,
    Evidence,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    ListEntry,
    MessageRef,
    Mode,
    ModelId,
    MoveKind,
    MoveRecord,
    MoveState,
    Score,
    Sighting,
    TlsMode,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.errors import RequestError
from spamd.message import vector
from spamd.model.bundle import Bundles, read_card, write_card
from spamd.model.scoring import Scorer
from spamd.paths import Paths, find, shipped_model
from spamd.store.database import Store
from spamd.web.access import Limits
from spamd.web.server import WebServer

HOME, WORK = AccountName("home"), AccountName("work")
# As the program says it: pictures for the documentation are taken of this world.
SHOWN_TO_HOLD = (
    "642 good mails show that at most 1 in 1,000 of them would be moved. About 94 % of the junk is caught."
)
TAKEN = "It does no worse on older labels, on rescued mail and on the public reference mail."
DAY = 86400.0

GOOD = [
    (
        "anna.becker@example.org",
        "Saturday: bring the tent?",
        "Are you still in for the lake? We leave at nine",
    ),
    ("billing@trains.example", "Your ticket Berlin – Prague", "Coach 258, seat 64, Thursday 08:32"),
    ("ci@forge.example", "[garden] build 4812 passed", "All 1,204 tests passed in 6 minutes"),
    ("mum@example.net", "Photos from Sunday", "They are lovely, thank you. Grandpa says hello"),
    ("library@city.example", "Your loan is due in three days", "The Left Hand of Darkness, due Friday"),
    ("jo@work.example", "Re: minutes of Tuesday", "Looks good to me, one comment on page two"),
    ("news@seedswap.example", "Seed swap newsletter: November", "Beans, kale, and what to do with frost"),
    ("dentist@praxis.example", "Reminder: appointment on 3 December", "Please call if you cannot come"),
]
JUNK = [
    ("winner@lotto-claims.example", "CONGRATULATIONS!! You won 850,000 EUR", "claim now before midnight"),
    (
        "security@paypa1-verify.example",
        "Your account is limited: verify within 24h",
        "click to restore access",
    ),
    ("dr.lee@cheap-pills.example", "Discount meds, no prescription needed", "lowest price guaranteed"),
    ("ceo.office@crypto-doubler.example", "Double your bitcoin today", "send 0.1 and get 0.2 back"),
    ("hr@quick-jobs.example", "Work from home, 4,000 a week", "no experience, start today"),
]
DOUBT = [
    ("offers@shoes-sale.example", "Last hours: 40 % off boots", "you bought from us in 2023"),
    ("hello@unknown-startup.example", "Quick question about your website", "I noticed some issues"),
]
HOSTILE = [
    ("x@evil.example", "<script>document.title='owned'</script><img src=x onerror=alert(1)>", "<b>bold</b>"),
    (
        "\u202egro.elpmaxe@moc.live",
        "Invoice \u202efdp.exe\u202c and \u2066more",
        "\u200bz\u200be\u200br\u200bo",
    ),
    ('"><svg onload=alert(1)>@evil.example', "javascript:alert(1) {{ 7*7 }} {% raw %} ${7*7}", "&lt;&amp;"),
    ("big@evil.example", "A" * 1_000_000, "B" * 300_000),
    ("ctl@evil.example", "nul\x00 esc\x1b[31m tab\t cr\r\n line\u2028sep", "x"),
]

HOSTILE_RAW = (
    b'From: "><script>alert(1)</script>" <x@evil.example>\r\n'
    b"To: me@example.org\r\n"
    b"Subject: =?utf-8?q?=E2=80=AEfdp.exe?= <script>document.title='owned'</script>\r\n"
    b"Message-ID: <hostile@evil.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<html><body><p>Verify your account at <a href='http://evil.example/steal?x=\"><script>'>www.bank.example</a>"
    b"<img src='http://tracker.evil.example/pixel.gif'><link rel=stylesheet href='http://evil.example/a.css'>"
    b"<div style='display:none'>hidden words to fool a filter, meeting agenda minutes</div>"
    b"<script>document.title='owned'</script></p><p>f r e e  m o n e y \xe2\x80\x8b now</p></body></html>\r\n"
)


JUNK_RAW = (
    b"From: PayPa1 Security <security@paypa1-verify.example>\r\n"
    b"To: me@example.org\r\nReply-To: helpdesk@mail-verify.example\r\n"
    b"Subject: Your account is limited: verify within 24h\r\n"
    b"Date: Sun, 29 Nov 2026 09:12:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<html><body><p>Dear customer,</p><p>We noticed unusual activity. Your account is <b>limited</b>. "
    b"Please <a href='http://paypa1-verify.example/login'>https://www.paypal.com/verify</a> within 24 hours, "
    b"or it will be closed for ever.</p><p>A\xe2\x80\x8bccount sec\xe2\x80\x8burity team</p>"
    b"<div style='display:none'>minutes of the meeting, gardening, see you on Tuesday, best wishes</div>"
    b"</body></html>\r\n"
)


class HandEngine:
    """The daemon's outer edge, moved by hand: it keeps its promises to Control at once, on the calling thread."""

    def __init__(self, store: Store, clock=time.time) -> None:
        self.store = store
        self.clock = clock
        self.calls: list[tuple] = []
        self.states: dict[str, AccountState] = {}
        self.work: list[Progress] = []
        self.mails: dict[tuple[str, str], bytes] = {}
        self.check = AccountCheck(
            True,
            "Signed in.",
            folders=(FolderName("INBOX"), FolderName("Junk"), FolderName("Archive")),
            junk_folder=FolderName("Junk"),
            abilities=("move", "idle"),
            inbox_messages=1204,
            junk_messages=87,
        )
        self.fetch_error: Exception | None = None
        self.stopped = threading.Event()

    def account_states(self):
        return list(self.states.values())

    def progress(self):
        return list(self.work)

    def pause(self, account, until):
        self.calls.append(("pause", account, until))
        for name, state in self.states.items():
            if account in (None, name):
                self.states[name] = replace(state, phase=AccountPhase.PAUSED, paused_until=until)

    def resume(self, account):
        self.calls.append(("resume", account))
        for name, state in self.states.items():
            if account in (None, name):
                self.states[name] = replace(state, phase=AccountPhase.WATCHING, paused_until=None)

    def forget_pause(self, account):
        self.calls.append(("forget_pause", account))

    def go_on(self, account):
        self.calls.append(("go_on", account))
        self.resume(account)

    def wake(self, account):
        self.calls.append(("wake", account))

    def put_back(self, move_ids):
        self.calls.append(("put_back", tuple(move_ids)))
        for move_id in move_ids:
            done = self.store.move(move_id)
            back = self.store.intent(
                replace(
                    done,
                    id=0,
                    kind=MoveKind.UNDO,
                    state=MoveState.INTENT,
                    source=MessageRef(done.target, UidValidity(9), Uid(move_id)),
                    target=done.source.folder,
                    created_at=self.clock(),
                    changed_at=0.0,
                )
            )
            self.store.advance(replace(back, state=MoveState.DONE, changed_at=self.clock()))

    def file_junk(self, judgement_ids):
        self.calls.append(("file_junk", tuple(judgement_ids)))
        for judgement_id in judgement_ids:
            mail = self.store.judgement(judgement_id)
            if not self.store.was_moved(mail.account, mail.identity):
                move(self.store, mail, self.clock())

    def fetch_mail(self, account, identity):
        if self.fetch_error is not None:
            raise self.fetch_error
        return self.mails.get((account, identity))

    def check_account(self, account, secret):
        self.calls.append(("check", account.name, secret))
        return self.check

    def find_servers(self, address, *, look_up=False):
        if look_up:
            self.calls.append(("look up", address))
        domain = address.rpartition("@")[2]
        account = Account(AccountName(domain), host=f"imap.{domain}", user=address, port=993)
        other = replace(account, host=f"mail.{domain}", port=143, tls=TlsMode.STARTTLS)
        return [ServerGuess(account, "guess"), ServerGuess(other, "guess")]

    def sign_in(self, account):
        if account.auth is not AuthMethod.OAUTH:
            raise RequestError("This account signs in with a password.")
        return SignIn(account.name, "https://login.provider.example/device", "ABCD-EFGH")

    def start_first_reading(self, account):
        self.calls.append(("read", account))
        self.work = [Progress("first-reading", account, 120, 400, "Junk: 120 of 400", self.clock())]

    def train(self, from_scratch):
        self.calls.append(("train", from_scratch))
        self.work = [Progress("train", None, 3, 12, "Epoch 3 of 12", self.clock())]

    def reload_settings(self):
        self.calls.append(("reload",))

    def rebuild_scores(self):
        self.calls.append(("rebuild",))

    def stop(self):
        self.stopped.set()


class World:
    """Everything a test needs; close() ends it."""

    def __init__(
        self,
        home: Path,
        *,
        accounts: bool = True,
        mails: bool = True,
        hostile: bool = True,
        limits: Limits | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self.now = time.time()
        seeded = _seeded(hostile) if accounts and mails and not _seeding else None
        if seeded is not None:
            shutil.copytree(seeded.folder, home, dirs_exist_ok=True)
            self.now, self.why_id = seeded.now, seeded.why_id
        self.paths = find({"SPAMD_HOME": str(home)})
        self.paths.make()
        self.store = Store(self.paths.database)
        self.engine = HandEngine(self.store)
        self.scorer, self.bundles = scorer(self.paths)
        self.base = self.bundles.shipped().card.id
        self.secrets = secrets or FileSecrets(self.paths.config / "tests.json")
        if accounts:
            self._accounts(written=seeded is not None)
        if mails and seeded is None:
            self._mails(hostile)
        if mails:
            why = self.store.judgement(self.why_id)
            self.engine.mails[(why.account, why.identity)] = HOSTILE_RAW if hostile else JUNK_RAW
        self.begin()
        self.server = WebServer(self.control, self.paths, limits=limits)

    def begin(self) -> None:
        self.control = Control(
            paths=self.paths,
            store=self.store,
            scorer=self.scorer,
            bundles=self.bundles,
            engine=self.engine,
            secrets=self.secrets,
        )

    def close(self) -> None:
        self.server.stop()
        self.store.close()

    def _accounts(self, *, written: bool) -> None:
        if not written:
            for account in (
                Account(HOME, host="imap.example.org", user="me@example.org"),
                Account(WORK, host="mail.work.example", user="me@work.example", mode=Mode.SUGGESTING),
            ):
                settings.add_account(self.paths.config_file, account)
        folders = tuple(FolderName(name) for name in ("INBOX", "Archive", "Junk", "Sent", "Trash"))
        self.engine.states = {
            HOME: AccountState(
                HOME,
                AccountPhase.WATCHING,
                last_contact=self.now - 20,
                junk_folder=FolderName("Junk"),
                mode=Mode.FILTERING,
                evidence=Evidence(
                    Mode.FILTERING,
                    0.982,
                    0.45,
                    642,
                    188,
                    0,
                    0.0008,
                    0.94,
                    SHOWN_TO_HOLD,
                    self.now,
                ),
                folders=folders,
                quirk="dovecot",
            ),
            WORK: AccountState(
                WORK,
                AccountPhase.WATCHING,
                last_contact=self.now - 300,
                junk_folder=FolderName("Spam"),
                mode=Mode.SUGGESTING,
                evidence=Evidence(
                    Mode.LEARNING,
                    None,
                    0.5,
                    112,
                    9,
                    188,
                    None,
                    None,
                    "188 more good mails until I may move anything to Junk.",
                    self.now,
                ),
                folders=folders,
            ),
        }

    def _mails(self, hostile: bool) -> None:
        random.seed(7)
        self.store.set_display("snippet")
        number = 0
        for day in range(29, -1, -1):
            for _ in range(random.randint(3, 6)):
                number += 1
                at = self.now - day * DAY - random.uniform(60, 20000)
                pick = random.random()
                if pick < 0.55:
                    self.add(number, random.choice(GOOD), Verdict.KEEP, random.uniform(0.001, 0.05), at)
                elif pick < 0.92:
                    mail = self.add(
                        number, random.choice(JUNK), Verdict.JUNK, random.uniform(0.985, 0.9999), at
                    )
                    if mail.account == HOME:
                        move(self.store, mail, at)
                    if random.random() < 0.3:
                        self.say(mail, Label.SPAM, LabelSource.DRAG, at + 60)
                else:
                    mail = self.add(
                        number, random.choice(DOUBT), Verdict.UNSURE, random.uniform(0.5, 0.9), at
                    )
                    if day > 5:
                        self.say(mail, Label.HAM, LabelSource.REVIEW, at + 300)
        for row in HOSTILE if hostile else ():
            number += 1
            self.add(number, row, Verdict.UNSURE, 0.7, self.now - number, account=HOME)
        number += 1
        why = self.add(number, JUNK[1], Verdict.JUNK, 0.9991, self.now - 5, account=HOME)
        move(self.store, why, self.now - 5)
        self.why_id = why.id
        number += 1
        wrong = self.add(number, GOOD[5], Verdict.JUNK, 0.991, self.now - 2 * DAY, account=HOME)
        move(self.store, wrong, self.now - 2 * DAY)
        self.say(wrong, Label.HAM, LabelSource.UNDO, self.now - 2 * DAY + 60)
        number += 1
        held = self.add(number, GOOD[3], Verdict.KEEP, 0.002, self.now - 3 * DAY, account=HOME)
        self.say(held, Label.SPAM, LabelSource.FOLDER, self.now - 2 * DAY, held=True)
        for entry in (
            ListEntry("mum@example.net", Label.HAM, self.now - 100 * DAY, None, self.now - DAY, 41),
            ListEntry("lotto-claims.example", Label.SPAM, self.now - 200 * DAY),
            ListEntry(
                "seedswap.example", Label.HAM, self.now - 40 * DAY, self.now - DAY, self.now - 9 * DAY, 3
            ),
        ):
            self.store.add_list_entry(entry)
        self.store.add_event("night", f"A new model was taken (642 good and 188 junk mails). {TAKEN}", None)
        self.store.add_event("account", "Connected to imap.example.org.", HOME)
        self.store.add_event("error", "The server closed the connection; connected again after 4 s.", WORK)
        # In the pictures nothing is wanted of the person.
        self.store.add_event(
            "mode", f"From suggesting to filtering. {SHOWN_TO_HOLD}", HOME, needs_person=hostile
        )

    def add(
        self, number: int, row, verdict: Verdict, probability: float, at: float, account=None
    ) -> Judgement:
        sender, subject, snippet = row
        name = account or (HOME if number % 4 else WORK)
        identity = Identity(f"hash:{number:064x}")
        domain = sender.rpartition("@")[2]
        raw = f"From: {sender}\r\nSubject: {subject[:200]}\r\n\r\n{snippet[:400]}\r\n".encode(
            "utf-8", "replace"
        )
        reasons = {
            Verdict.JUNK: ("score", "It scores above your threshold.", name == HOME),
            Verdict.UNSURE: ("score", "The model cannot tell.", False),
            Verdict.KEEP: ("score", "It looks like your usual mail.", False),
        }
        reason, explanation, moves = reasons[verdict]
        judgement = Judgement(
            id=0,
            account=name,
            identity=identity,
            at=at,
            score=Score(probability, 4.0 * (probability - 0.5), 3.0 * (probability - 0.5), self.base),
            decision=Decision(verdict, moves, reason, explanation),
            sender=sender,
            subject=subject,
            snippet=snippet,
            sender_domain=domain,
            link_hosts=(f"www.{domain}", "cdn.links.example") if verdict is not Verdict.KEEP else (),
        )
        stored, _ = self.store.record_judgement(
            judgement,
            vector=vector.pack(vector.vectorise(raw)),
            sighting=Sighting(
                name,
                MessageRef(FolderName("INBOX"), UidValidity(1), Uid(number)),
                identity,
                seen_at=at,
                message_id=f"mail-{number}@example.org",
            ),
        )
        return stored

    def say(
        self, mail: Judgement, label: Label, source: LabelSource, at: float, *, held: bool = False
    ) -> None:
        weight = 1.0 if source is not LabelSource.FOLDER else 0.6
        self.store.add_label(
            LabelRecord(
                mail.account, mail.identity, label, source, weight, at, mail.score.model_id, held=held
            )
        )

    def find(self, subject: str) -> Judgement:
        """The newest mail whose subject begins so."""
        return next(mail for mail in self.store.judgements(limit=500) if mail.subject.startswith(subject))


def move(store: Store, mail: Judgement, at: float, target: str = "Junk") -> MoveRecord:
    """A finished move of this mail."""
    intent = store.intent(
        MoveRecord(
            id=0,
            account=mail.account,
            identity=mail.identity,
            kind=MoveKind.JUNK,
            state=MoveState.INTENT,
            source=MessageRef(FolderName("INBOX"), UidValidity(1), Uid(mail.id)),
            target=FolderName(target),
            target_uid_validity=UidValidity(9),
            target_uid_next=Uid(mail.id),
            target_uid=Uid(mail.id),
            message_id="",
            size=2000,
            created_at=at,
            changed_at=at,
            model_id=mail.score.model_id,
        )
    )
    done = replace(intent, state=MoveState.DONE, changed_at=at + 1)
    store.advance(done)
    return done


_seeding: list[bool] = []


@dataclass(frozen=True)
class Seeded:
    folder: Path
    now: float
    why_id: int


@functools.cache
def _seeded(hostile: bool) -> Seeded:
    """A home filled once; tests copy it, which is much quicker than filling it again."""
    folder = Path(tempfile.mkdtemp(prefix="spamd-seeded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _seeding.append(True)
    try:
        world = World(folder, hostile=hostile)
        world.close()
    finally:
        _seeding.pop()
    return Seeded(folder, world.now, world.why_id)


OWN = ModelId("personal-a1b2c3d4e5")


def scorer(paths: Paths) -> tuple[Scorer, Bundles]:
    """The real ones: the shipped model, and one of the person's own (the same weights under another card)."""
    # The pages are tested, not the model: while a feature is being changed its old weights do as well as any.
    base = paths.cache / "shipped"
    if not base.exists():
        shutil.copytree(shipped_model(), base)
        # On a picture no model is of tomorrow, however new the shipped one is.
        made = time.time() - 40 * DAY
        write_card(base, replace(read_card(base), schema=vector.SCHEMA, created_at=made))
    bundles = Bundles(paths.personal_models, base)
    shipped = bundles.shipped()
    if bundles.current().card.id == OWN:
        return Scorer(bundles), bundles
    candidate = paths.cache / "candidate"
    shutil.copytree(shipped.folder, candidate)
    card = replace(
        shipped.card,
        id=OWN,
        parent=shipped.card.id,
        created_at=shipped.card.created_at + 39.6 * DAY,
        labels={"ham": 642, "spam": 188},
        figures={
            "fresh": 9.0,
            "held": 41.0,
            "held_loss_before": 0.061,
            "held_loss_after": 0.048,
            "rescued": 3.0,
            "rescued_worse": 0.0,
            "pinned": 296.0,
            "pinned_loss_before": 0.102,
            "pinned_loss_after": 0.1,
        },
        reasons=(TAKEN,),
        known_until=shipped.card.created_at + 40 * DAY,
    )
    write_card(candidate, card)
    bundles.install(candidate)
    shutil.rmtree(candidate)
    return Scorer(bundles), bundles
