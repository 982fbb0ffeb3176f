"""What the mailbox room costs, on a Dovecot of its own: see bench.py."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import _rss_mb, open_scorer, sample  # noqa: E402

from spamd.domain import FolderName, FolderStatus, TlsMode, Uid  # noqa: E402
from spamd.mailbox.idle import open_watch  # noqa: E402
from spamd.mailbox.session import open_session  # noqa: E402
from spamd.message import vector  # noqa: E402
from tests.servers.dovecot import BINARY, Dovecot, Options  # noqa: E402
from tests.servers.mailhost import PASSWORD, MailHost, mail  # noqa: E402

INBOX, JUNK = FolderName("INBOX"), FolderName("Junk")
INBOX_SIZE, JUNK_SIZE, READ = 50_000, 100_000, 10_000  # mails
SMALL = b"".join(mail(body="x" * 60, message_id="").splitlines(keepends=True))


def fill(host: MailHost, user: str, folder: str, mails: Iterator[bytes]) -> None:
    """MULTIAPPEND in batches of 200."""
    with host.oracle(user) as imap:
        while batch := [raw for _, raw in zip(range(200), mails, strict=False)]:
            command = bytearray(b"F1 APPEND " + folder.encode())
            for raw in batch:
                command += b" {%d+}\r\n" % len(raw) + raw
            imap.send(bytes(command) + b"\r\n")
            while not (line := imap.readline()).startswith(b"F1 "):
                pass
            assert line.startswith(b"F1 OK"), line


def bench_mailbox() -> dict[str, object]:
    """Polls, moves, reading, memory. Times of the server are not ours and not in here, but for the throughput."""
    if not BINARY:
        return {"skipped": "Dovecot is not installed (Debian: apt install dovecot-imapd)"}
    server = Dovecot(Options(storage="mdbox", compress=True))
    try:
        # Memory of connections first: later there is enough that was freed.
        connections = _connections(server)
        return {"poll": _poll(server), "read": _read(server), "connections": connections}
    finally:
        server.close()


def _poll(server: Dovecot) -> dict[str, object]:
    user = server.new_user()
    fill(server, user, "INBOX", (SMALL for _ in range(INBOX_SIZE)))
    fill(server, user, "Junk", (SMALL for _ in range(JUNK_SIZE)))
    session = open_session(server.account(user), PASSWORD)
    start = session.statuses([INBOX, JUNK])
    server.move(user, [INBOX_SIZE], "INBOX", "Junk")
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
        "mails": INBOX_SIZE + JUNK_SIZE,
        "quiet_bytes": quiet[0],
        "quiet_cpu_ms": quiet[1],
        "ten_moves_bytes": moved[0],
        "ten_moves_cpu_ms": moved[1],
        **{f"ten_out_of_junk_{way}_bytes": one[0] for way, one in left.items()},
        **{f"ten_out_of_junk_{way}_cpu_ms": one[1] for way, one in left.items()},
        "all_uids_bytes": everything[0],
    }


def _read(server: Dovecot) -> dict[str, object]:
    user = server.new_user()
    dice = random.Random(7)
    kinds = [sample(size) for size in (2_000, 5_000, 8_000, 20_000, 60_000)]
    weights = [30, 35, 20, 10, 5]
    fill(server, user, "INBOX", (dice.choices(kinds, weights)[0] for _ in range(READ)))
    session = open_session(server.account(user), PASSWORD)
    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        refs = [arrival.ref for arrival in session.arrivals(INBOX, Uid(1))]
        for fetched in session.fetch(refs[:500]):
            scorer.score(vector.vectorise(fetched.raw))
        rss, began, cpu = _rss_mb(), time.monotonic(), time.process_time()
        for _ in session.fetch(refs):
            pass
        fetch_cpu, fetch_wall = time.process_time() - cpu, time.monotonic() - began
        began, cpu = time.monotonic(), time.process_time()
        for fetched in session.fetch(refs):
            scorer.score(vector.vectorise(fetched.raw))
        judged_cpu, judged_wall = time.process_time() - cpu, time.monotonic() - began
        grown = _rss_mb() - rss
    real = [file.read_bytes() for file in sorted((ROOT / "tests/data/modern_ham").glob("*.eml"))]
    fill(server, user, "Trash", iter(real))
    received = []
    for compressed in (False, True):
        reader = open_session(server.account(user), PASSWORD)
        if compressed:
            reader.begin_bulk()
        cpu, rss_before = time.process_time(), _rss_mb()
        refs = [arrival.ref for arrival in reader.arrivals(FolderName("Trash"), Uid(1))]
        for _ in range(10):
            assert len(list(reader.fetch(refs))) == len(real)
        received.append((reader.bytes_received(), time.process_time() - cpu, _rss_mb() - rss_before))
        reader.close()
    big = mail("big", "\r\n".join(["x" * 998] * 50_000))
    fill(server, user, "Junk", iter([big]))
    (arrival,) = session.arrivals(JUNK, Uid(1))
    rss = _rss_mb()
    list(session.fetch([arrival.ref]))
    big_grown = _rss_mb() - rss
    session.close()
    return {
        "fetched_per_second": round(READ / fetch_wall),
        "fetch_cpu_us_per_mail": round(fetch_cpu / READ * 1e6),
        "fetched_and_judged_per_second": round(READ / judged_wall),
        "fetched_and_judged_cpu_us_per_mail": round(judged_cpu / READ * 1e6),  # also on a busy machine
        "grown_mb_over_20000_mails": round(grown, 1),
        "grown_mb_over_50_mb_mail": round(big_grown, 1),
        "compressed_to_percent": round(100 * received[1][0] / received[0][0]),
        "compressed_cpu_us_per_mail_more": round((received[1][1] - received[0][1]) / (10 * len(real)) * 1e6),
        "compressed_grown_mb": round(received[1][2], 1),
    }


def _connections(server: Dovecot) -> dict[str, object]:
    first = server.account(server.new_user(), tls=TlsMode.IMPLICIT)
    open_session(first, PASSWORD).close()
    rss = _rss_mb()
    opened = []
    for _ in range(10):
        account = server.account(server.new_user(), tls=TlsMode.IMPLICIT)
        session = open_session(account, PASSWORD)
        session.status(INBOX)
        watch = open_watch(account, PASSWORD, INBOX)
        watch.wait(0.1)
        opened += [session, watch]
    grown = _rss_mb() - rss
    cpu = time.process_time()
    began = time.monotonic()
    for one in opened[1::2]:
        one.wait(1.0)
    idle = (time.process_time() - cpu) / (time.monotonic() - began)
    for one in opened:
        one.close()
    return {"ten_accounts_two_each_mb": round(grown, 1), "waiting_cpu_percent": round(idle * 100, 3)}
