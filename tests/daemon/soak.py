"""A hostile hour in minutes: real daemons, a real Dovecot (or Courier, or Cyrus), a person who does what they like, and everything that breaks.

`Soak(seed, ...)` plays epochs. In each, mail arrives, the person drags, copies, deletes, marks and renames from another
client, connections are cut, the server hangs or dies, daemons are killed. Then comes a checkpoint in peace, at which
everything must be true: the same mails as the person left (none lost, doubled or changed), nothing newly read, nothing
of ours left marked, no open row, and labels just for what the person did.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from spamd.domain import MOVING_KEYWORD, OTHERS_WERE_FASTER, OWNER_KEYWORD
from spamd.mailbox.moving.rivals import GIVES_WAY
from tests.daemon.conftest import Running, wait_for
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.fault_proxy import FaultProxy
from tests.servers.mailhost import Person, mail, normal

JUNK_SENDER = "offers@junk-sender.example"
KNOWN_SENDER = (
    "sentinel@home.example"  # whose mail no daemon moves, whatever it has learned: both see it in the inbox
)
UIDPLUS = "IMAP4rev1 LITERAL+ ID NAMESPACE IDLE UIDPLUS UNSELECT ENABLE CONDSTORE"
OTHERS = {"courier": Courier, "cyrus": Cyrus}  # that cannot be stopped, frozen, told to count anew
KINDS: dict[str, dict[str, object]] = {
    "maildir": {},
    "mdbox": {"storage": "mdbox"},
    "uidplus-only": {"capabilities": UIDPLUS},
}
VERBS = (
    r"UID MOVE",
    r"UID COPY",
    r"UID STORE",
    r"UID EXPUNGE",
    r"UID FETCH (?!4294967295|\*)",
    r"UID SEARCH",
    r"STATUS|LIST",
    r"SELECT|EXAMINE",
    r"UNSELECT|NOOP",
    r"DONE|IDLE",
)
MEANING = {
    ("INBOX", "Junk"): "spam",
    ("Keep", "Junk"): "spam",
    ("Junk", "INBOX"): "ham",
    ("Junk", "Keep"): "ham",
}


@dataclass
class Letter:
    """One text that was delivered, perhaps more than once."""

    subject: str
    raw: bytes
    spam: bool
    copies: int = 1
    meant: set[str] = field(default_factory=set)  # every label that some deed of the person could mean
    exact: bool = True  # every deed was done in view of all daemons, so that its labels are known
    words: list[str] = field(default_factory=list)  # these labels, in order
    touched: bool = False  # by the person, ever
    locked: bool = False  # the person copied it while it was being moved, perhaps
    filed: bool = False  # the person copied it from the inbox to Junk
    busy: bool = True  # in this epoch: arrived, or a deed was done


class Soak:
    def __init__(self, root: Path, seed: int, *, kind: str, daemons: int = 1, log: bool = False) -> None:
        self.dice = random.Random(seed)
        self.log = log
        self.kind = kind
        self.steerable = kind not in OTHERS
        self.by_copy = not self.steerable or kind == "uidplus-only"
        if self.steerable:
            self.host = Dovecot(replace(Dovecot.__init__.__defaults__[0], **KINDS[kind]))  # type: ignore[index]
        else:
            self.host = OTHERS[kind]()
        prefix = self.host.junk.removesuffix("Junk")
        self.raw = {"INBOX": "INBOX"} | {name: prefix + name for name in ("Junk", "Trash", "Keep")}
        self.user = self.host.new_user()
        self.proxy = FaultProxy(self.host.port)
        self.numbers = itertools.count(1)
        self.letters: dict[str, Letter] = {}
        self.seen: Counter[str] = Counter()
        self.told: list[str] = []
        self.doubtful = False  # this epoch: a folder was made anew, deeds in it say nothing
        self.host.create(self.user, self.raw["Keep"])
        self.folders = ["INBOX", "Junk", "Trash", "Keep"]
        self.daemons: list[Running] = []
        account = replace(self.host.account(self.user), port=self.proxy.port, max_moves_per_hour=100_000)
        for number in range(daemons):
            (root / str(number) / "tmp").mkdir(parents=True)
            one = Running(root / str(number) / "home", computer=root / str(number) / "tmp")
            one.add(account)
            one.start()
            self.daemons.append(one)
            with one.client() as client:
                from spamd.domain import Label

                client.add_to_list(JUNK_SENDER, Label.SPAM)
                client.add_to_list(KNOWN_SENDER, Label.HAM)

    def close(self) -> None:
        for one in self.daemons:
            one.end()
        self.proxy.close()
        self.host.close()

    def say(self, text: str) -> None:
        self.told.append(f"{time.strftime('%H:%M:%S')} {text}")
        if self.log:
            print(self.told[-1], file=sys.stderr, flush=True)

    # -- mail

    def lying(self):
        names = {raw: name for name, raw in self.raw.items()}
        return [
            replace(one, folder=names.get(one.folder, one.folder)) for one in self.host.contents(self.user)
        ]

    def subject(self, raw: bytes) -> str:
        return raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode()

    def deliver(self, *, spam: bool, folder: str = "INBOX", sender: str = "") -> Letter:
        number = next(self.numbers)
        words = " ".join(self.dice.choice(WORDS) for _ in range(12))
        letter = Letter(
            f"n{number} {words[:30]}".strip(),
            b"",
            spam and folder == "INBOX",
        )
        sender = sender or (JUNK_SENDER if spam else f"{self.dice.choice(WORDS)}@home.example")
        letter.raw = mail(letter.subject, f"{words}\r\n{number}", sender=sender)
        self.letters[letter.subject] = letter
        self.host.append(self.user, letter.raw, folder=self.raw[folder])
        self.say(f"deliver {'spam' if spam else 'ham'} {letter.subject} to {folder}")
        return letter

    def deliver_twin(self) -> None:
        letter = self.dice.choice(list(self.letters.values()))
        letter.copies += 1
        letter.exact = False
        letter.busy = True
        self.host.append(self.user, letter.raw)
        self.say(f"twin of {letter.subject}")

    # -- the person

    @contextlib.contextmanager
    def by_hand(self) -> Iterator[Person]:
        """A connection of the person's. It keeps no account of its own: Courier ends one that reads a mail for the second time
        when another client has expunged it.
        """
        with self.host.oracle(self.user) as imap:
            imap.kept = None
            yield imap

    def chosen(self, *, calm: bool, folders: tuple[str, ...]):
        """A mail and where it lies: calm ones were left alone in this epoch and are known to all daemons."""
        found = [
            (self.letters[subject], one)
            for one in self.lying()
            if (subject := self.subject(one.raw)) in self.letters
            and one.folder in folders
            and "\\Deleted" not in one.flags
            and (not calm or (self.letters[subject].exact and not self.letters[subject].busy))
        ]
        return self.dice.choice(found) if found else (None, None)

    def drag(self, *, calm: bool) -> None:
        letter, one = self.chosen(calm=calm, folders=tuple(self.folders))
        if letter is None:
            return
        target = self.dice.choice([name for name in self.folders if name != one.folder])
        if calm and one.folder in ("Trash", "Keep") and target in ("INBOX", "Junk"):
            calm = False  # nobody watches those: what comes from there may be known or not
        word = MEANING.get((one.folder, target))
        self.say(f"drag{' calmly' if calm else ''} {letter.subject} {one.folder}/{one.uid} -> {target}")
        letter.busy = letter.touched = True
        if not calm:
            letter.exact = False
            letter.meant |= {"spam"} if target == "Junk" else {"ham"} if target != "Trash" else set()
        elif word:
            letter.meant.add(word)
            letter.words.append(word)
        with contextlib.suppress(AssertionError):  # the daemon was faster
            self.host.move(self.user, [one.uid], self.raw[one.folder], self.raw[target])
        if letter.spam and one.folder == "INBOX":
            self.raced.add(letter.subject)
        elif letter.spam and one.folder == "Junk" and not calm:
            self.taken.add(letter.subject)

    def race(self) -> None:
        """Junk arrives, and the person moves it in the moment in which the daemons do."""
        letter = self.deliver(spam=True)
        letter.exact, letter.touched = False, True
        target = self.dice.choice(["Keep", "Trash", "Junk"])
        letter.meant |= {"spam"} if target == "Junk" else {"ham"} if target == "Keep" else set()
        with self.by_hand() as imap:
            imap.select("INBOX")
            uids = imap.uid("SEARCH", "HEADER", "Message-ID", self.message_id(letter))[1][0].split()
            time.sleep(self.dice.random() * 0.7)  # a daemon hears of it after half a second
            if uids:
                verb = "MOVE" if "MOVE" in imap.capabilities else "COPY"
                imap.uid(verb, uids[0].decode(), self.raw[target])
                if "MOVE" not in imap.capabilities:
                    imap.uid("STORE", uids[0].decode(), "+FLAGS.SILENT", "(\\Deleted)")
                    imap.uid("EXPUNGE", uids[0].decode())
        self.raced.add(letter.subject)
        self.say(f"race for {letter.subject} to {target}")

    def message_id(self, letter: Letter) -> str:
        return letter.raw.split(b"Message-ID: ")[1].split(b"\r\n")[0].decode()

    def copy(self) -> None:
        letter, one = self.chosen(calm=False, folders=("INBOX", "Junk"))
        if letter is None:
            return
        target = self.dice.choice([name for name in ("Keep", "Junk", "INBOX") if name != one.folder])
        letter.busy = letter.touched = True
        letter.exact = False
        letter.meant |= {"spam"} if target == "Junk" else {"ham"}
        with self.by_hand() as imap:
            imap.select(f'"{self.raw[one.folder]}"', readonly=True)
            before = sum(self.subject(each.raw) == letter.subject for each in self.lying())
            status, _ = imap.uid("COPY", str(one.uid), f'"{self.raw[target]}"')
            proof = imap.response("COPYUID")[1]
            done = status == "OK" and proof != [None]
        self.say(f"copy {letter.subject} {one.folder}/{one.uid} -> {target}: {done} ({before} before)")
        letter.copies += done
        # Also in Junk, until the lock comes off there: such a copy is taken for one of the original.
        under_lock = one.folder == "INBOX" or MOVING_KEYWORD in one.flags
        letter.locked |= under_lock or before > letter.copies - done
        letter.filed |= (one.folder, target) == ("INBOX", "Junk")

    def delete(self) -> None:
        letter, one = self.chosen(calm=False, folders=("INBOX", "Junk", "Trash"))
        if letter is None:
            return
        letter.busy = letter.touched = True
        letter.exact = False
        with self.by_hand() as imap:
            imap.select(f'"{self.raw[one.folder]}"')
            imap.uid("STORE", str(one.uid), "+FLAGS.SILENT", "(\\Deleted)")
            imap.response("EXPUNGE")
            imap.uid("EXPUNGE", str(one.uid))
            gone = [number for number in imap.response("EXPUNGE")[1] if number]
            # Whose expunge it was that took it: ours, if the mail bore our mark.
        left = sum(self.subject(each.raw) == letter.subject for each in self.lying())
        self.say(f"delete {letter.subject} {one.folder}/{one.uid}: {len(gone)} gone, {left} left")
        letter.copies = min(letter.copies, max(left, letter.copies - 1)) if gone else letter.copies
        self.uncertain[letter.subject] += 1

    def mark(self) -> None:
        letter, one = self.chosen(calm=False, folders=tuple(self.folders))
        if letter is None:
            return
        flag = self.dice.choice(["\\Seen", "work", "\\Flagged"])
        if flag == "\\Seen":
            self.seen[letter.subject] += 10
        letter.touched = True
        self.say(f"mark {letter.subject} {flag}")
        with contextlib.suppress(AssertionError):
            self.host.store(self.user, [one.uid], "+FLAGS", flag, self.raw[one.folder])

    def rename(self) -> None:
        name = self.dice.choice(["Keep", "Junk"])
        self.doubtful = True
        with self.by_hand() as imap:
            new = f"Old{next(self.numbers)}"
            status, _ = imap.rename(name, new)
            self.say(f"rename {name} to {new}: {status}")
            if name not in self.host.folder_names(self.user, imap):
                imap.create(name)

    def renumber(self) -> None:
        name = self.dice.choice(["INBOX", "Junk"])
        self.doubtful = True
        self.say(f"UIDVALIDITY of {name}")
        validity = 1_900_000_000 + next(self.numbers)
        self.host.doveadm("mailbox", "update", "--uid-validity", str(validity), "-u", self.user, name)

    # -- what breaks

    def trouble(self) -> None:
        ours = ["before", "after", "after", "inside", "refuse", "cut"] * 2 + ["kill"] * 4 + ["restart"]
        servers = ["kick", "freeze"] * 2 + ["server", "power"]
        kind = self.dice.choice(ours + servers * self.steerable)
        verb = self.dice.choice(VERBS)
        nth = self.dice.randint(1, 3)
        self.say(f"trouble: {kind} {verb if kind in ('before', 'after', 'inside', 'refuse') else ''} {nth}")
        if kind == "before":
            self.proxy.cut_before(verb, nth)
        elif kind == "after":
            self.proxy.cut_after(verb, nth)
        elif kind == "inside":
            self.proxy.cut_inside(verb, nth, at=self.dice.randint(1, 200))
        elif kind == "refuse":
            answer = self.dice.choice(["NO no", "BAD what?", "NO [UNAVAILABLE] later", "NO [INUSE] busy"])
            self.proxy.refuse(verb, nth, every=False, answer=answer)
        elif kind == "cut":
            self.proxy.cut_all()
        elif kind == "kick":
            self.host.doveadm("kick", self.user)
        elif kind == "freeze":
            self.host.freeze()
            time.sleep(self.dice.random())
            self.host.thaw()
        elif kind in ("kill", "restart"):
            one = self.dice.choice(self.daemons)
            if one.process is not None and one.process.poll() is None:
                one.process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
                one.process.wait(120)
            one.start(wait=False)
        else:
            (self.host.stop if kind == "server" else self.host.kill)()
            for lock in self.host.home(self.user).rglob("*.lock"):
                lock.unlink(
                    missing_ok=True
                )  # of a process that was killed: Dovecot would wait minutes for it
            self.host.start()
            self.proxy.target = self.host.port

    # -- epochs

    def epoch(self, deeds: int = 25) -> None:
        self.uncertain: Counter[str] = Counter()  # deleted, perhaps while it was being moved: so often
        self.raced: set[str] = set()  # by a person between our COPY and the end of the original, perhaps
        self.taken: set[str] = set()  # out of Junk, perhaps before the original was gone
        self.doubtful = False
        self.began = time.time()
        for letter in self.letters.values():
            letter.busy = False
        choices = (
            [lambda: self.deliver(spam=True)] * 5
            + [lambda: self.deliver(spam=False)] * 3
            + [lambda: self.deliver(spam=True, folder="Junk")]
            + [self.deliver_twin] * bool(self.letters)
            + [lambda: self.drag(calm=True)] * 4
            + [lambda: self.drag(calm=False)] * 3
            + [self.copy, self.delete, self.mark, self.race, self.race]
            + [self.trouble] * 6
        )
        for _ in range(deeds):
            self.dice.choice(choices)()
            time.sleep(self.dice.random() ** 3)  # the moments are random: that is the test
        if self.dice.random() < 0.15 and self.steerable:
            self.dice.choice([self.rename, self.renumber])()
        self.checkpoint()

    def checkpoint(self) -> None:
        self.say("checkpoint")
        self.proxy.peace()
        for one in self.daemons:
            if one.process is None or one.process.poll() is not None:
                one.start(wait=False)
        for _ in range(2):
            letter = self.deliver(spam=False, sender=KNOWN_SENDER)
            for one in self.daemons:
                with one.client() as client:

                    def judged(client=client, letter=letter) -> bool:
                        time.sleep(0.2)
                        client.wake(self.user)
                        return any(letter.subject in j.subject for j in client.judgements(limit=50))

                    wait_for(
                        judged,
                        f"the verdict on {letter.subject}",
                        float(os.environ.get("SPAMD_PATIENCE", "300")),
                    )
        problem = ""

        def settled() -> bool:
            nonlocal problem
            problem = self.wrong()
            return not problem

        try:
            wait_for(settled, "peace", 60)
        except AssertionError:
            raise AssertionError(problem) from None
        if self.doubtful:
            for letter in self.letters.values():
                letter.exact = False

    def wrong(self) -> str:
        """What is not as it must be; "" if all is well."""
        lying = self.lying()
        there = Counter(self.subject(one.raw) for one in lying)
        for letter in self.letters.values():
            if any(
                normal(one.raw) != normal(letter.raw)
                for one in lying
                if self.subject(one.raw) == letter.subject
            ):
                return f"changed: {letter.subject}"
            if abs(there[letter.subject] - letter.copies) <= self.uncertain[letter.subject]:
                continue
            if letter.locked and 1 <= there[letter.subject] == letter.copies - 1 and self.given_way(letter):
                continue  # where a move is a copy, that of a mail under our lock is taken for a move: ours gave way
            more = there[letter.subject] == letter.copies + 1
            if more and letter.subject in self.raced and (self.by_copy or self.doubtful):
                # Without ids nobody can tell what the person moved from what they copied; without MOVE their copy may come
                # after ours in Junk, and Junk be renamed with ours in it.
                continue
            if more and self.kind == "uidplus-only" and letter.subject in self.taken:
                continue  # a copy that is gone from Junk when its move goes on may have been deleted: the original stays
            if there[letter.subject] != letter.copies:
                where = [one.folder for one in lying if self.subject(one.raw) == letter.subject]
                return f"{letter.subject}: {letter.copies} expected, lies in {where}"
        for one in lying:
            subject = self.subject(one.raw)
            if "\\Seen" in one.flags and not self.seen[subject]:
                return f"newly read: {subject}"
            letter = self.letters[subject]
            ours = {flag for flag in one.flags if flag.startswith((MOVING_KEYWORD, OWNER_KEYWORD))}
            if ours and letter.locked and one.folder == "Keep" and self.kind == "courier":
                ours = set()  # copied under our lock: where the mover looks into no other folder, that comes off within the hour
            if ours or "\\Deleted" in one.flags:
                return f"left marked: {subject} in {one.folder}: {sorted(one.flags)}"
            if letter.spam and letter.copies == 1 and not letter.touched and one.folder == "INBOX":
                return f"not moved: {subject}"
        for number, daemon in enumerate(self.daemons):
            problem = self.ledger(daemon)
            if problem:
                return f"daemon {number}: {problem}"
        # Not before: of what each look allows once more, any number could get lost in an epoch.
        unsure = {letter.subject for letter in self.letters.values() if letter.locked}
        for subject in self.uncertain.keys() | self.raced | self.taken | unsure:
            self.letters[subject].copies = there[subject]
        return ""

    def given_way(self, letter: Letter) -> bool:
        """Does a journal say that since the last checkpoint a copy of ours was taken away, because of another one? Or that it
        was moved, when the person has filed it, too: a move that goes on after a cut has that copy for its own, by its id.
        """
        for daemon in self.daemons:
            with self.database(daemon) as db:
                (rows,) = db.execute(
                    "SELECT count(*) FROM move JOIN judgement USING (account, identity) WHERE subject = ?"
                    " AND changed_at > ? AND (state = 'done' AND ? OR state = 'abandoned'"
                    " AND (error IN (?, ?) OR error LIKE 'It was moved to %'))",
                    (letter.subject, self.began, letter.filed, OTHERS_WERE_FASTER, GIVES_WAY),
                ).fetchone()
            if rows:
                return True
        return False

    def database(self, daemon: Running) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(
            sqlite3.connect(f"file:{daemon.paths.database}?mode=ro", uri=True, timeout=30)
        )

    def ledger(self, daemon: Running) -> str:
        with self.database(daemon) as db:
            rows = db.execute(
                "SELECT subject, label.label, label.source, label.held, label.identity, label.note FROM label"
                " JOIN judgement USING (account, identity) ORDER BY label.id"
            ).fetchall()
            states = db.execute("SELECT identity, state FROM move WHERE kind = 'junk'").fetchall()
        if any(state in ("intent", "copied", "marked") for _, state in states):
            return "an open row"
        doubled = [
            one for one, count in Counter(i for i, state in states if state == "done").items() if count > 1
        ]
        if doubled:
            return f"moved twice: {doubled}"
        words: dict[str, list[str]] = {}
        for subject, label, source, held, identity, note in rows:
            if source != "drag" or held:
                return f"label of {subject}: {label} {source} {held}"
            words.setdefault(subject, []).append(label)
            if label not in self.letters[subject].meant:
                return f"label that nobody meant: {label} for {subject} ({identity}, {note})"
        for letter in self.letters.values():
            said = words.get(letter.subject, [])
            wanted = [word for word, _ in itertools.groupby(letter.words)]
            if letter.exact and not (self.doubtful and letter.busy) and said != wanted:
                return f"labels of {letter.subject}: {said}, not {wanted}"
        return ""


WORDS = [
    "meeting",
    "lunch",
    "invoice",
    "garden",
    "river",
    "music",
    "paper",
    "window",
    "bicycle",
    "report",
    "school",
    "holiday",
    "weather",
    "kitchen",
    "train",
    "letter",
    "photo",
    "doctor",
    "market",
    "coffee",
    "family",
    "project",
    "ticket",
    "summer",
    "winter",
    "concert",
    "museum",
    "recipe",
    "budget",
    "review",
]


def run(root: Path, seconds: float, seed: int, kind: str, daemons: int, *, log: bool = False) -> int:
    """Epochs until the time is over; how many. The story is printed where it fails."""
    deadline = time.monotonic() + seconds
    soak = Soak(root, seed, kind=kind, daemons=daemons, log=log)
    count = 0
    try:
        while count == 0 or time.monotonic() < deadline:
            soak.epoch()
            count += 1
            soak.say(f"epoch {count}: {len(soak.letters)} letters, all well")
    except BaseException:
        print("\n".join(soak.told[-150:]))
        print("\n".join(soak.proxy.commands[-12:]))
        print("" if isinstance(soak.host, Cyrus) else soak.host.log()[-3000:])
        for one in soak.daemons:
            if one.process is not None and one.process.poll() is None:
                one.process.send_signal(signal.SIGABRT)
                one.process.wait(30)
            print(one.output()[-4000:])
        print(f"SPAMD_SEED={seed} kind={kind} daemons={daemons} epochs={count}")
        raise
    finally:
        soak.close()
    return count


if __name__ == "__main__":  # python -m tests.daemon.soak FOLDER SECONDS SEED KIND DAEMONS
    folder, seconds_, seed_, kind_, daemons_ = sys.argv[1:6]
    os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    print(run(Path(folder), float(seconds_), int(seed_), kind_, int(daemons_), log="-v" in sys.argv))
