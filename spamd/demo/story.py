"""The demo: the real daemon on a real IMAP server in this process, new mail, one drag, one night.

Everything lies below one temporary folder, which is removed at the end, also after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import email
import functools
import hashlib
import json
import os
import queue
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import imapclient
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from spamd import paths, settings
from spamd.answers import Happening
from spamd.cli.output import plain
from spamd.client import Client
from spamd.demo.server import EmbeddedServer
from spamd.domain import (
    Account,
    AccountName,
    FolderName,
    Judgement,
    Label,
    Mode,
    ModelCard,
    Reason,
    TlsMode,
    Verdict,
)
from spamd.errors import NotRunning, SpamdError
from spamd.file_lock import FileLock
from spamd.reasons import likelihood

MAIL = Path(__file__).parent / "mail"
USER, PASSWORD = "robin", "demo"
ACCOUNT = AccountName("demo")
INBOX, JUNK, ARCHIVE = "INBOX", "Junk", "Archive"

HAM_BEFORE, SPAM_BEFORE = 34, 26
"""Mail that lies in the folders before; the rest arrives while you watch."""

PATIENCE = 60.0  # seconds for one step, on a slow machine; the usual is far below one
NIGHT_PATIENCE = 900.0  # the trainer is polite: where others work, it waits
PREFIX, LIVES = "spamd-demo-", "demo.lock"
PACE = 20.0  # seconds between two mails while you look around
COLOURS = {Verdict.JUNK: "red", Verdict.UNSURE: "yellow", Verdict.KEEP: "green"}

CLUB = """\
From: "Sofa Outlet Club" <club@sofa-outlet-club.example>
To: Robin Vale <robin@home.example>
Subject: {subject}
Date: {date}
Message-ID: <{number}.club@sofa-outlet-club.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Dear member,

{line} The sofa outlet club at the ring road is open on Saturday from ten to six.
Corner sofas, footstools and sofa beds from our showroom, delivery by arrangement.

Order number {number}, see https://sofa-outlet-club.example/week/{number}

Your sofa outlet club
"""
"""A newsletter that nobody but this person minds: no filter can know it before the first drag."""


@dataclass
class Tale:
    """What came true."""

    judged: int = 0
    moved: int = 0
    corrections: int = 0
    relearned: bool = False
    lost: int = 0
    good_in_junk: int = 0
    night: dict[str, object] = dataclasses.field(default_factory=dict)
    after_night: int = 0  # mails judged by the model that serves after the night
    seconds: float = 0.0
    split: dict[str, float] = dataclasses.field(default_factory=dict)  # chapter -> seconds

    @property
    def came_true(self) -> bool:
        return (
            self.judged > 0
            and self.moved > 0
            and self.corrections > 0
            and self.relearned
            and self.lost == 0
            and self.good_in_junk == 0
            and self.night.get("outcome") in ("promoted", "refused", "not installed", "left out")
            and self.after_night >= 3
        )


class Mailbox:
    """The person's own mail program: one IMAP connection that delivers, drags and counts."""

    def __init__(self, host: str, port: int) -> None:
        self._imap = imapclient.IMAPClient(host, port, ssl=False, timeout=PATIENCE)
        self._imap.login(USER, PASSWORD)
        self.delivered: collections.Counter[str] = collections.Counter()

    def deliver(self, raw: bytes, folder: str = INBOX, *, read: bool = False) -> None:
        self._imap.append(folder, raw, [imapclient.SEEN] if read else [])
        self.delivered[_fingerprint(raw)] += 1

    def drag(self, message_id: str, source: str, target: str) -> None:
        self._imap.select_folder(source)
        found = self._imap.search(["HEADER", "Message-ID", message_id])
        self._imap.move(found, target)
        self._imap.select_folder(INBOX, readonly=True)  # pymap has no UNSELECT

    def create(self, *folders: str) -> None:
        there = {name for _flags, _separator, name in self._imap.list_folders()}
        for folder in folders:
            if folder not in there:
                self._imap.create_folder(folder)

    def lying_in(self, folder: str) -> set[str]:
        """The Message-IDs there."""
        self._imap.select_folder(folder, readonly=True)
        uids = self._imap.search()
        heads = self._imap.fetch(uids, ["BODY.PEEK[HEADER]"]).values() if uids else ()
        self._imap.select_folder(INBOX, readonly=True)  # pymap has no UNSELECT
        return {_message_id(head[b"BODY[HEADER]"]) for head in heads}

    def lost(self) -> int:
        """Mails delivered that are in no folder any more, plus those that are in two."""
        found: collections.Counter[str] = collections.Counter()
        for _flags, _separator, name in self._imap.list_folders():
            self._imap.select_folder(name, readonly=True)
            uids = self._imap.search()
            if uids:
                for item in self._imap.fetch(uids, ["BODY.PEEK[]"]).values():
                    found[_fingerprint(item[b"BODY[]"])] += 1
        self._imap.select_folder(INBOX, readonly=True)  # pymap has no UNSELECT
        return sum((self.delivered - found).values()) + sum((found - self.delivered).values())

    def close(self) -> None:
        # No LOGOUT: where Ctrl-C fell into a command, the server would take it for that command's rest.
        with contextlib.suppress(OSError, imapclient.exceptions.IMAPClientError):
            self._imap.shutdown()


def _fingerprint(raw: bytes) -> str:
    return hashlib.sha256(raw.replace(b"\r\n", b"\n")).hexdigest()


def _message_id(raw: bytes) -> str:
    return (email.message_from_bytes(raw)["Message-ID"] or "").strip()


class Verdicts:
    """What the daemon tells while it works, by its event stream."""

    def __init__(self, client: Client) -> None:
        self._queue: queue.SimpleQueue[Happening] = queue.SimpleQueue()
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="demo-stream", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                for happening in self._client.stream():
                    self._queue.put(happening)
            except SpamdError:
                if self._ended.wait(0.2):
                    return

    def changed(self, timeout: float) -> None:
        """Wait until something happened, or so long."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=timeout)

    def close(self) -> None:
        self._ended.set()


class Story:
    """One telling. `say` prints; everything else happens for real."""

    def __init__(self, root: Path, console: Console, *, once: bool, night: bool = True) -> None:
        self.console = console
        self.once = once
        self.with_night = night
        self.tale = Tale()
        self.home = paths.find({"SPAMD_HOME": str(root)})
        self.ham = sorted((MAIL / "ham").glob("*.eml"))
        self.spam = sorted((MAIL / "spam").glob("*.eml"))
        self.good = {_message_id(file.read_bytes()) for file in self.ham}

    def tell(self) -> Tale:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            with self.chapter("start"):
                server = stack.enter_context(EmbeddedServer(users={USER: PASSWORD}))
                mailbox = Mailbox(server.host, server.port)
                stack.callback(mailbox.close)
                self.prepare(mailbox, server.host, server.port)
                stack.enter_context(self.daemon())
                client = stack.enter_context(self.client())
            verdicts = Verdicts(client)
            stack.callback(verdicts.close)
            with self.chapter("reading"):
                self.read_folders(client, verdicts)
            with self.chapter("arriving"):
                self.heading(
                    "New mail arrives",
                    "Each is judged when the server announces it: how likely it is junk, and why. Junk is moved.",
                )
                self.arrive(client, mailbox, verdicts, self.mixed(HAM_BEFORE, SPAM_BEFORE, 6))
            with self.chapter("teaching"):
                self.teach(client, mailbox, verdicts)
            with self.chapter("night"):
                self.night(client, mailbox, verdicts)
            with self.chapter("morning"):
                self.morning(client, mailbox, verdicts)
                self.tale.lost = mailbox.lost()
                self.tale.good_in_junk = len(self.good & mailbox.lying_in(JUNK))
            self.tale.seconds = round(time.monotonic() - began, 1)
            self.sum_up()
            if not self.once:
                self.stay(client, mailbox, verdicts, server.host, server.port)
        return self.tale

    # ---- chapters

    @contextlib.contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.tale.split[name] = round(time.monotonic() - began, 1)

    def prepare(self, mailbox: Mailbox, host: str, port: int) -> None:
        mailbox.create(JUNK, ARCHIVE)
        for file in self.ham[:HAM_BEFORE]:
            mailbox.deliver(file.read_bytes(), ARCHIVE if file.stem[-1] in "nelt" else INBOX, read=True)
        for file in self.spam[:SPAM_BEFORE]:
            mailbox.deliver(file.read_bytes(), JUNK)
        self.home.make()
        settings.save(self.home.config_file, {"secrets": "file", "display": "snippet", "night_min_labels": 1})
        settings.add_account(
            self.home.config_file,
            Account(
                name=ACCOUNT,
                host=host,
                port=port,
                user=USER,
                tls=TlsMode.NONE,
                junk=FolderName(JUNK),
                mode=Mode.FILTERING,
            ),
        )
        from spamd.credentials import Secrets

        Secrets.choose(settings.load(self.home.config_file), self.home).set(ACCOUNT, PASSWORD)
        self.heading(
            "A mailbox in this process",
            f"{HAM_BEFORE} good mails in INBOX and Archive, {SPAM_BEFORE} in Junk, all written for this demo.",
        )

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        log = self.home.log / "demo-daemon.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "spamd.demo.filter"],
                env={"OPENBLAS_NUM_THREADS": "1", **os.environ, "SPAMD_HOME": str(self.home.config.parent)},
                stdin=subprocess.PIPE,  # never written to: it closes when we end, however we end
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours to hand on, in order
            )
        self._daemon, self._daemon_log = process, log
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def client(self) -> Client:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Client.connect(self.home)
            except NotRunning:
                if self._daemon.poll() is not None or time.monotonic() > deadline:
                    last = self._daemon_log.read_text(errors="replace")[-2000:]
                    raise SpamdError("The filter did not start.", last) from None
                time.sleep(0.1)  # nothing to wait on before it is there

    def read_folders(self, client: Client, verdicts: Verdicts) -> None:
        def watching() -> bool:
            return client.account(ACCOUNT).state.phase == "watching"

        self.wait(watching, verdicts, "the filter to sign in")
        client.start_first_reading(ACCOUNT)
        self.wait(
            lambda: (
                any(one.kind == "first-reading" and one.finished for one in client.progress())
                or sum(1 for _ in client.export_labels()) >= SPAM_BEFORE + HAM_BEFORE // 2
            ),
            verdicts,
            "the first reading",
        )
        labels = collections.Counter(str(one.label) for one in client.export_labels())
        self.heading(
            "It learns from the folders that are there",
            f"{labels['ham']} good and {labels['spam']} junk mails read, none marked as read.",
        )

    def mixed(self, ham_from: int, spam_from: int, count: int) -> list[Path]:
        pairs = zip(self.ham[ham_from:], self.spam[spam_from:], strict=False)
        return [file for pair in pairs for file in pair][:count]

    def arrive(self, client: Client, mailbox: Mailbox, verdicts: Verdicts, files: list[Path]) -> None:
        for file in files:
            self.one(client, mailbox, verdicts, file.read_bytes())

    def one(self, client: Client, mailbox: Mailbox, verdicts: Verdicts, raw: bytes) -> Judgement:
        """A mail arrives; its verdict is shown."""
        before = self.newest(client)
        mailbox.deliver(raw)
        judgement = self.judged_after(client, verdicts, before)
        self.show(client, judgement)
        return judgement

    def teach(self, client: Client, mailbox: Mailbox, verdicts: Verdicts) -> None:
        self.heading("You drag one mail to Junk", "A newsletter that no filter can know is junk to you.")
        for number, (subject, line) in enumerate(
            (
                ("Saturday at the sofa outlet club", "This week twelve corner sofas came in."),
                ("Sofa outlet club: your Saturday", "New this week: nine footstools and a chaise longue."),
                ("Open on Saturday, sofa outlet club", "This week it is sofa beds, fourteen of them."),
            ),
            start=4711,
        ):
            judgement = self.one(client, mailbox, verdicts, self.club(number, subject, line))
            if number == 4711:
                if judgement.decision.move:
                    continue
                labels = len(client.export_labels())
                mailbox.drag(f"<{number}.club@sofa-outlet-club.example>", INBOX, JUNK)
                self.wait(functools.partial(self.taught, client, labels), verdicts, "the lesson")
                self.tale.corrections += 1
                self.console.print("  [bold]You drag it to Junk. The next ones are judged by that lesson:[/]")
            elif judgement.decision.verdict is Verdict.JUNK:
                self.tale.relearned = True

    @staticmethod
    def taught(client: Client, before: int) -> bool:
        return len(client.export_labels()) > before

    def night(self, client: Client, mailbox: Mailbox, verdicts: Verdicts) -> None:
        if not self.with_night:
            self.tale.night = {"outcome": "left out"}
            return
        if not client.models().can_train:
            self.tale.night = {"outcome": "not installed"}
            self.heading("Night", client.models().training_hint)
            return
        before = client.models()
        self.heading("Night", "The real trainer runs in its child process; mail goes on arriving.")
        client.train()
        files = iter(self.mixed(HAM_BEFORE + 3, SPAM_BEFORE + 3, 6))
        began = time.monotonic()
        with self.console.status("Training.") as status:
            while True:
                work = next((one for one in client.progress() if one.kind == "train"), None)
                if work is not None and work.finished:
                    break
                if work is not None and work.text:
                    status.update(Text(work.text))
                file = next(files, None)
                if file is not None:
                    self.one(client, mailbox, verdicts, file.read_bytes())
                else:
                    verdicts.changed(0.5)
                if time.monotonic() - began > NIGHT_PATIENCE:
                    raise SpamdError("The night did not end.", self._daemon_log.read_text()[-2000:])
        after = client.models()
        promoted = bool(after.current and before.current and after.current.id != before.current.id)
        outcome = "failed" if work.error else "promoted" if promoted else "refused"
        told = work.error or work.text
        self.tale.night = {"outcome": outcome, "text": told, "model": after.current and after.current.id}
        if promoted and after.current:
            self.tale.night["figures"] = {name: round(v, 5) for name, v in after.current.figures.items()}
        indented = (0, 0, 0, 2)
        self.console.print(Padding(Text(told, style="green" if promoted else "yellow"), indented))
        if promoted and after.current:
            self.console.print(Padding(Text(figures_of(after.current), style="dim"), indented))
            self.console.print("  The new model was swapped in between two mails.")

    def morning(self, client: Client, mailbox: Mailbox, verdicts: Verdicts) -> None:
        """Whoever won the night must still know good mail from junk."""
        current = client.models().current
        serving = current.id if current else ""
        self.heading("The morning after", f"Judged by {serving}.")
        raws = [file.read_bytes() for file in self.mixed(HAM_BEFORE + 6, SPAM_BEFORE + 6, 4)]
        raws.append(self.club(4714, "The sofa outlet club is open", "Corner sofas again this week."))
        for raw in raws:
            self.tale.after_night += self.one(client, mailbox, verdicts, raw).score.model_id == serving

    def sum_up(self) -> None:
        tale = self.tale
        self.heading(
            "The end of the story",
            f"{tale.judged} judged, {tale.moved} moved, {tale.corrections} corrected by you, {tale.lost} lost.",
        )

    def stay(self, client: Client, mailbox: Mailbox, verdicts: Verdicts, host: str, port: int) -> None:
        program = Path(sys.executable).parent / "spamdctl"
        if program.is_relative_to(Path.cwd()):
            program = program.relative_to(Path.cwd())
        ctl = f"SPAMD_HOME={self.home.config.parent} {program}"
        where = Text.assemble(
            ("Mail   ", "dim"), f"IMAP {host} port {port}, no TLS, user ", (USER, "bold"), ", password ",
            (PASSWORD, "bold"), ("\nPage   ", "dim"), client.open_url(), ("\n       opens once, within a minute", "dim"),
            ("\nShell  ", "dim"), f"{ctl} status", f"\n       {ctl} open", ("   (the page anew)", "dim"),
            "\n\nConnect any mail program (Thunderbird: Account Settings, Add Mail Account),\ndrag mail into Junk",
            " or out of it, and watch here what is learned.\nCtrl-C ends the demo and removes everything.",
        )  # fmt: skip
        self.console.print(Rule("Have a look yourself", style="green"))
        self.console.print(where, soft_wrap=True)  # so that an address and a command can be copied
        self.console.print(Rule(style="green"))
        number = 5000
        waiting = iter(self.ham[HAM_BEFORE + 8 :])
        lessons = self.lessons(client)
        while True:
            file = next(waiting, None)
            number += 1
            club = self.club(
                number, "Saturday at the sofa outlet club", f"Week {number}: more sofas came in."
            )
            self.one(client, mailbox, verdicts, file.read_bytes() if file else club)
            end = time.monotonic() + PACE
            with self.console.status("Watching. The next mail arrives in a moment.") as status:
                while (left := end - time.monotonic()) > 0:
                    if self._daemon.poll() is not None:
                        raise SpamdError("The filter ended.", self._daemon_log.read_text()[-2000:])
                    status.update(f"Watching. The next mail arrives in {left:.0f} s. Ctrl-C ends the demo.")
                    verdicts.changed(min(left, 1.0))
                    lessons = self.tell_lessons(client, lessons)

    @staticmethod
    def lessons(client: Client) -> int:
        return max((one.id for one in client.labels(limit=50)), default=0)

    def tell_lessons(self, client: Client, known: int) -> int:
        """What the person taught since, by dragging or on the page."""
        fresh = [one for one in client.labels(limit=50) if one.id > known]
        for one in reversed(fresh):
            word, colour = ("junk", "red") if one.label is Label.SPAM else ("good", "green")
            self.console.print(
                Text.assemble("  Learned as ", (word, f"bold {colour}"), f" from you ({one.source}).")
            )
        return max((one.id for one in fresh), default=known)

    # ---- telling

    def club(self, number: int, subject: str, line: str) -> bytes:
        from email.utils import formatdate

        text = CLUB.format(number=number, subject=subject, line=line, date=formatdate(localtime=True))
        return text.encode().replace(b"\n", b"\r\n")

    def heading(self, title: str, text: str) -> None:
        self.console.print()
        self.console.print(Text(title, style="bold"))
        self.console.print(Text(text, style="dim"))

    def show(self, client: Client, judgement: Judgement) -> None:
        verdict = judgement.decision.verdict
        self.tale.judged += 1
        if judgement.moved or judgement.decision.move:
            self.tale.moved += 1
        line = Text("  ")
        line.append(f"{verdict.value:<7}", style=f"bold {COLOURS[verdict]}")
        line.append(f"{likelihood(judgement.score.probability):>9}  ")
        line.append(_cut(plain(judgement.sender), 28) + " ", style="dim")
        line.append(plain(judgement.subject))
        line.truncate(self.console.width, overflow="ellipsis")
        self.console.print(line)
        if verdict is not Verdict.KEEP:
            told = _because(client.why(judgement.id).reasons)
            if told:
                because = Text(f"{' ' * 20}{told}", style="dim italic")
                because.truncate(self.console.width, overflow="ellipsis")
                self.console.print(because)

    def newest(self, client: Client) -> int:
        found = client.judgements(limit=1)
        return found[0].id if found else 0

    def judged_after(self, client: Client, verdicts: Verdicts, before: int) -> Judgement:
        """The verdict on the mail just delivered, with its move finished."""
        found: list[Judgement] = []

        def there() -> bool:
            found[:] = [one for one in client.judgements(limit=5) if one.id > before]
            return bool(found) and (not found[0].decision.move or found[0].moved)

        self.wait(there, verdicts, "a verdict")
        return found[0]

    def wait(self, true: Callable[[], bool], verdicts: Verdicts, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            if _asked_to_end:
                raise _Ended(_asked_to_end[0])  # it fell where Python cannot raise (a finaliser)
            if self._daemon.poll() is not None:
                raise SpamdError("The filter ended.", self._daemon_log.read_text(errors="replace")[-2000:])
            if time.monotonic() > deadline:
                last = self._daemon_log.read_text(errors="replace")[-2000:]
                raise SpamdError(f"Waited in vain for {what}.", last)
            verdicts.changed(0.2)


def figures_of(card: ModelCard) -> str:
    """What the gate had before it, in a line. Smaller losses are better."""
    f = card.figures
    return (
        f"{f['fresh']:.0f} new labels, {f['cpu_seconds']:.1f} s of the processor. Error (log-loss, less is better) on "
        f"{f['held']:.0f} older labels it has not seen: {f['held_loss_before']:.3f}, now {f['held_loss_after']:.3f}; "
        f"on {f['pinned']:.0f} public mails: {f['pinned_loss_before']:.3f}, now {f['pinned_loss_after']:.3f}."
    )


def _cut(text: str, cells: int) -> str:
    """As wide as that on a terminal; what is cut off is seen to be."""
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def _because(reasons: Sequence[Reason]) -> str:
    """The strongest causes in a line. A lesson says it all. A word says more than a fact, but one that hardly counts says
    nothing: nearly every junk mail has its "remove".
    """
    for_junk = [one for one in reasons if one.contribution > 0]
    for one in for_junk:
        if one.kind == "copy":
            return plain(one.text[:1].lower() + one.text[1:])
    least = 0.6 * max((one.contribution for one in for_junk), default=0.0)
    told = [f"“{one.text}”" for one in for_junk if one.kind == "word" and one.contribution >= least][:2]
    for one in for_junk:
        if one.kind != "word" and len(told) < 4:
            told.append(f"{one.words} in the subject" if one.place == "subject" else one.words)
    return plain("because of " + ", ".join(told)) if told else ""


class _Ended(BaseException):
    """Ctrl-C or SIGTERM: leave, cleaning up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def own_folder() -> tuple[Path, FileLock]:
    """A new temporary folder, and the lock that says that its demo lives: the system ends it with the process."""
    while True:
        root = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(root / LIVES)
        if lock.take():  # else another demo has just taken it for one left behind, and removes it
            return root, lock


def remove_left_behind() -> None:
    """Folders of demos that were killed: ours, and held by no living process. What cannot be removed stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, SpamdError):
            there = folder.lstat()
            ours = os.name != "posix" or there.st_uid == os.getuid()
            if not (ours and stat.S_ISDIR(there.st_mode) and (folder / LIVES).is_file()):
                continue
            # Its filter ends with it, but may still be ending.
            locks = FileLock(folder / LIVES), FileLock(paths.find({"SPAMD_HOME": str(folder)}).lock_file)
            try:
                if not all(lock.take() for lock in locks):
                    continue
            finally:
                for lock in locks:
                    lock.release()
            shutil.rmtree(folder, ignore_errors=True)


_asked_to_end: list[int] = []


def _end(number: int, _frame: FrameType | None) -> None:
    _asked_to_end.append(number)
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C must not cut the cleaning short
    raise _Ended(number)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="spamd.demo", description="The filter at work on an embedded mailbox."
    )
    parser.add_argument("--once", action="store_true", help="tell the story once; end with one line of JSON")
    parser.add_argument("--no-night", action="store_true", help="leave the training out")
    given = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    remove_left_behind()
    root, lock = own_folder()
    story = Story(root, console, once=given.once, night=not given.no_night)
    try:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, _end)
        tale = story.tell()
    except _Ended as ended:
        console.print("\nThe demo is over; nothing of it is left.")
        return 128 + ended.number if given.once else 0
    except SpamdError as exc:
        console.print(Text.assemble((exc.title, "red"), "\n", exc.hint))
        tale = story.tale
        if not given.once:
            return 1
    finally:
        lock.release()  # Windows removes no file that is open
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(dataclasses.asdict(tale), ensure_ascii=False))
    return 0 if tale.came_true else 1
