"""What the mailbox room costs, on a Dovecot of its own: see bench.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from scripts.bench_mails import MODERN, mixture
from scripts.bench_model import open_scorer, rss_mb
from spamd.domain import FolderName, FolderStatus, TlsMode, Uid
from spamd.filtering import Filter
from spamd.learning import Learner
from spamd.learning.proof import assess_account
from spamd.mailbox.idle import open_watch
from spamd.mailbox.move_commands import ImapCommands
from spamd.mailbox.mover import JournaledMover
from spamd.mailbox.session import open_session
from spamd.message import vector
from spamd.store.database import Store
from tests.servers.dovecot import BINARY, Dovecot, Options
from tests.servers.mailhost import PASSWORD, MailHost, mail

INBOX, JUNK = FolderName("INBOX"), FolderName("Junk")
INBOX_SIZE, JUNK_SIZE, READ = 50_000, 100_000, 10_000  # mails
SMALL = b"".join(mail(body="x" * 60, message_id="").splitlines(keepends=True))


def fill(host: MailHost, user: str, folder: str, mails: Iterator[bytes]) -> None:
    """MULTIAPPEND in batches of 200."""
    with host.oracle(user) as imap:
        while batch := list(islice(mails, 200)):
            command = bytearray(b"F1 APPEND " + folder.encode())
            for raw in batch:
                command += b" {%d+}\r\n" % len(raw) + raw
            imap.send(bytes(command) + b"\r\n")
            while not (line := imap.readline()).startswith(b"F1 "):
                pass
            assert line.startswith(b"F1 OK"), line


def bench_mailbox(share: float) -> dict[str, object]:
    """Polls, moves, reading, memory. Times of the server are not ours and not in here, but for the throughput."""
    if not BINARY:
        return {"skipped": "Dovecot is not installed (Debian: apt install dovecot-imapd)"}
    server = Dovecot(Options(storage="mdbox", compress=True))
    try:
        # Memory of connections first: later there is enough that was freed.
        connections = _connections(server, share)
        return {"poll": _poll(server, share), "read": _read(server, share), "connections": connections}
    finally:
        server.close()


def _poll(server: Dovecot, share: float) -> dict[str, object]:
    user = server.new_user()
    inbox_size, junk_size = round(INBOX_SIZE * share), round(JUNK_SIZE * share)
    fill(server, user, "INBOX", (SMALL for _ in range(inbox_size)))
    fill(server, user, "Junk", (SMALL for _ in range(junk_size)))
    session = open_session(server.account(user), PASSWORD)
    start = session.statuses([INBOX, JUNK])
    server.move(user, [inbox_size], "INBOX", "Junk")
    # Dovecot counts changes from here on; the first question after that is answered with everything.
    session.changed_flags(JUNK, start[1].highest_modseq)
    session.statuses([INBOX, JUNK])

    def cost(work) -> tuple[int, float]:  # type: ignore[no-untyped-def]
        received, cpu = session.bytes_received(), time.thread_time()
        work()
        return session.bytes_received() - received, round((time.thread_time() - cpu) * 1e3, 2)

    quiet = cost(lambda: session.statuses([INBOX, JUNK]))
    before = session.statuses([INBOX, JUNK])
    server.move(user, range(1, 11), "INBOX", "Junk")

    def look() -> None:
        session.statuses([INBOX, JUNK])
        found = list(session.arrivals(JUNK, before[1].uid_next))
        assert len(found) == 10
        session.changed_flags(JUNK, before[1].highest_modseq)

    moved = cost(look)
    # And back: who left Junk is asked for, as the learner does (it knows the newest 5,000).
    known = list(session.uids(JUNK))[-5000:]

    def look_back(before: Sequence[FolderStatus], gone: list[Uid], *, qresync: bool) -> None:
        session.statuses([INBOX, JUNK])
        assert len(list(session.arrivals(INBOX, before[0].uid_next))) == 10
        since = before[1].highest_modseq
        departed = session.departed(JUNK, before[1].uid_validity, known, since if qresync else None)
        assert list(departed) == gone
        session.changed_flags(JUNK, since)

    left = {}
    for way in ("by_qresync", "by_search"):
        before, gone = session.statuses([INBOX, JUNK]), known[-10:]
        server.move(user, gone, "Junk", "INBOX")
        left[way] = cost(partial(look_back, before, gone, qresync=way == "by_qresync"))
        del known[-10:]
    everything = cost(lambda: session.uids(JUNK))
    session.close()
    return {
        "mails": inbox_size + junk_size,
        "quiet_bytes": quiet[0],
        "quiet_cpu_ms": quiet[1],
        "ten_moves_bytes": moved[0],
        "ten_moves_cpu_ms": moved[1],
        **{f"ten_out_of_junk_{way}_bytes": one[0] for way, one in left.items()},
        **{f"ten_out_of_junk_{way}_cpu_ms": one[1] for way, one in left.items()},
        "all_uids_bytes": everything[0],
    }


def _read(server: Dovecot, share: float) -> dict[str, object]:
    user, count = server.new_user(), round(READ * share)
    mails = list(mixture(count))
    account = server.account(user)
    session = open_session(account, PASSWORD)
    with tempfile.TemporaryDirectory() as home, Store(Path(home) / "store.db") as store:
        scorer = open_scorer(Path(home))
        mover = JournaledMover(session, ImapCommands(session), store, account.name)
        evidence = assess_account(store, scorer, account, time.time())
        judge = Filter(session, mover, store, scorer, account, evidence=lambda: evidence)
        learner = Learner(session, store, scorer, account, since=0.0)
        learner.settle(learner.look())  # what comes from here on is new
        fill(server, user, "INBOX", iter(mails))
        refs = [arrival.ref for arrival in session.arrivals(INBOX, Uid(1))]
        for fetched in session.fetch(refs[:500]):
            scorer.score(vector.vectorise(fetched.raw))
        rss = rss_mb()

        def cost(work) -> tuple[float, float]:  # type: ignore[no-untyped-def]
            began, cpu = time.monotonic(), time.process_time()
            work()
            return (time.process_time() - cpu) / count, (time.monotonic() - began) / count

        fetch_cpu, _ = cost(lambda: [None for _ in session.fetch(refs)])
        judge_cpu, _ = cost(lambda: [None for raw in mails if scorer.score(vector.vectorise(raw))])

        def whole() -> None:  # as the daemon does: what is new since the last look, judged and written down
            while (look := learner.look()).new:
                judge.judge_all(look.new)
                learner.settle(look)
            assert sum(store.counts(account.name, 0.0)[one] for one in ("keep", "unsure", "junk")) == count

        whole_cpu, whole_wall = cost(whole)
        grown = rss_mb() - rss
    real = [file.read_bytes() for file in sorted(MODERN.glob("*.eml"))]
    fill(server, user, "Trash", iter(real))
    received = []
    for compressed in (False, True):
        reader = open_session(server.account(user), PASSWORD)
        if compressed:
            reader.begin_bulk()
        cpu, rss_before = time.process_time(), rss_mb()
        refs = [arrival.ref for arrival in reader.arrivals(FolderName("Trash"), Uid(1))]
        for _ in range(10):
            assert len(list(reader.fetch(refs))) == len(real)
        received.append((reader.bytes_received(), time.process_time() - cpu, rss_mb() - rss_before))
        reader.close()
    big = mail("big", "\r\n".join(["x" * 998] * round(50_000 * share)))
    fill(server, user, "Junk", iter([big]))
    (arrival,) = session.arrivals(JUNK, Uid(1))
    rss = rss_mb()
    list(session.fetch([arrival.ref]))
    big_grown = rss_mb() - rss
    session.close()
    return {
        "mails": count,
        "bytes_mean": round(sum(map(len, mails)) / count),
        "fetch_cpu_us": round(fetch_cpu * 1e6),  # each, here and below
        "judge_cpu_us": round(judge_cpu * 1e6),
        "look_fetch_judge_write_cpu_us": round(whole_cpu * 1e6),
        "per_second": round(1 / whole_wall),  # of the whole, while the server has a core of its own
        "grown_mb": round(grown, 1),
        "grown_mb_over_50_mb_mail": round(big_grown, 1),
        "compressed_to_percent": round(100 * received[1][0] / received[0][0]),
        "compressed_cpu_us_more": round((received[1][1] - received[0][1]) / (10 * len(real)) * 1e6),
        "compressed_grown_mb": round(received[1][2], 1),
    }


def _connections(server: Dovecot, share: float) -> dict[str, object]:
    first = server.account(server.new_user(), tls=TlsMode.IMPLICIT)
    open_session(first, PASSWORD).close()
    rss = rss_mb()
    opened = []
    for _ in range(10):
        account = server.account(server.new_user(), tls=TlsMode.IMPLICIT)
        session = open_session(account, PASSWORD)
        session.status(INBOX)
        watch = open_watch(account, PASSWORD, INBOX)
        watch.wait(0.1)
        opened += [session, watch]
    grown = rss_mb() - rss
    cpu = time.process_time()
    began = time.monotonic()
    for one in opened[1::2]:
        one.wait(share)
    idle = (time.process_time() - cpu) / (time.monotonic() - began)
    for one in opened:
        one.close()
    return {"ten_accounts_two_each_mb": round(grown, 1), "waiting_cpu_percent": round(idle * 100, 3)}
