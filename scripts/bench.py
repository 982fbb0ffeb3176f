#!/usr/bin/env python3
"""Speed and memory, measured: CPU time wherever possible, since machines are noisy.

scripts/bench.py [--json] [FILE...]     bytes -> verdict: the median over varied mails, the best of several rounds for
                                        each; at first sight: with nothing remembered of hosts and styles of other
                                        mails; the stages of the middle mail of 38 kB. FILE...: given mails
scripts/bench.py daemon [--minutes 10]  idle memory and CPU with two accounts; notice -> finished move
scripts/bench.py mailbox                polls, moves, throughput, memory on a Dovecot of its own
scripts/bench.py pages                  every page with 100,000 mails in the store
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MAIL = ROOT / "spamd" / "demo" / "mail"
MODERN = ROOT / "tests" / "data" / "modern_ham"
LANGUAGES = {
    "ar",
    "da",
    "de",
    "es",
    "fr",
    "it",
    "ja",
    "nl",
    "pl",
    "pt",
    "ru",
    "sv",
    "tr",
    "zh",
}  # else English
ROUNDS = 9


def cpu_ms(work: Callable[[], object], *, seconds: float = 1.5, least: int = 5) -> float:
    """CPU milliseconds of one call in this process: the tenth percentile, since what else runs on the machine takes
    its caches away and makes all the rest slower than the program is."""
    work()
    times = []
    end = time.monotonic() + seconds
    while len(times) < least or time.monotonic() < end:
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return sorted(times)[len(times) // 10] * 1e3


def each_cpu_ms(
    work: Callable[[bytes], object],
    mails: Sequence[bytes],
    *,
    rounds: int = ROUNDS,
    before: Callable[[], None] | None = None,
) -> list[float]:
    """CPU milliseconds for each mail: the best of some rounds, in which the mails come one after the other as in a
    mailbox, and never the same twice in a row. `before` each mail, outside the time."""
    best = [float("inf")] * len(mails)
    for _ in range(rounds + 1):  # the first round only warms up, if anything is left warm
        for place, raw in enumerate(mails):
            if before is not None:
                before()
            began = time.process_time()
            work(raw)
            best[place] = min(best[place], time.process_time() - began)
    return [one * 1e3 for one in best]


def forget() -> None:
    """Empty everything that reading a mail remembers of mails before: hosts, styles, field names."""
    from spamd.message import charsets, dense, links, parsing, text

    for module in (charsets, dense, links, parsing, text):
        for thing in vars(module).values():
            if hasattr(thing, "cache_clear"):
                thing.cache_clear()


def small_mails() -> list[bytes]:
    """Modern mails of some 8 kB, invented but of real structure: receipts, notices, invitations, newsletters, letters."""
    files = sorted([*MODERN.glob("*.eml"), *(MAIL / "spam").glob("*.eml")])
    raws = [file.read_bytes() for file in files]
    return [raw for raw in raws if 5_500 < len(raw) < 11_500]


def big_mails(size: int = 38_000, count: int = 30) -> list[bytes]:
    """Modern HTML mails of about so many bytes: a head, a style sheet and the tables of several of the mails of one
    language, with a plain part beside it, quoted-printable as such mail is sent."""
    from email import message_from_bytes, policy
    from email.message import EmailMessage

    files = sorted([*MODERN.glob("*.eml"), *(MAIL / "spam").glob("*.eml")])
    letters = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    pages = [body.get_content() if (body := letter.get_body(("html",))) else "" for letter in letters]
    tongues = [next(iter(LANGUAGES & set(file.stem.split("-"))), "en") for file in files]
    chance = random.Random(size)
    out: list[bytes] = []
    for _ in range(10 * count):
        first = chance.choice([at for at, page in enumerate(pages) if "<table" in page])
        others = [at for at, page in enumerate(pages) if "<table" in page and tongues[at] == tongues[first]]
        order = [first] + [at for _ in range(20) for at in chance.sample(others, len(others))]
        letter, made = letters[first], EmailMessage()
        for name, value in letter.items():
            if not name.lower().startswith(("content-", "mime-version")) and (
                name not in made or name == "Received"
            ):
                made[name] = value
        plain = letter.get_body(("plain",))
        made.set_content(plain.get_content() if plain is not None else "-", cte="quoted-printable")
        html, end = pages[order[0]].rpartition("</body>")[::2]
        for at in order[1:]:
            if len(html) > size * 0.85 - len(made.as_bytes()):
                break
            begin = pages[at].find("<table")
            html += pages[at][begin:].rpartition("</body>")[0] if begin >= 0 else ""
        html = html[: max(1_000, int(size * 0.88) - len(made.as_bytes()))]
        made.add_alternative(f"{html}</body>{end}", subtype="html", cte="quoted-printable")
        raw = made.as_bytes(policy=policy.SMTP)
        if abs(len(raw) - size) < size / 10:  # Cyrillic or Chinese takes more bytes than was reckoned with
            out.append(raw)
        if len(out) == count:
            break
    return out


def with_attachment(size: int) -> bytes:
    head = (MAIL / "ham").glob("*receipt-en*.eml")
    raw = next(iter(sorted(head))).read_bytes()
    boundary = b"=bench="
    filler = base64.encodebytes(random.Random(1).randbytes(size * 3 // 4))
    return (
        b"From: a@b.example\r\nTo: c@d.example\r\nSubject: photos\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n--' + boundary
        + b"\r\nContent-Type: text/plain\r\n\r\n" + raw[-2000:] + b"\r\n--" + boundary
        + b"\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + filler
        + b"\r\n--" + boundary + b"--\r\n"
    )  # fmt: skip


def open_scorer(home: Path):  # type: ignore[no-untyped-def]
    from spamd import paths
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer

    return Scorer(Bundles(home / "models", paths.shipped_model()))


def _rss_mb() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def _rss_after_a_thousand(mails: list[bytes], answer: multiprocessing.Queue[float]) -> None:
    from spamd.message import vector

    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        for number in range(1000):
            scorer.score(vector.vectorise(mails[number % len(mails)]))
    answer.put(_rss_mb())


def _score_for(seconds: float, mails: list[bytes], answer: multiprocessing.Queue[float]) -> None:
    from spamd.message import vector

    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        scorer.score(vector.vectorise(mails[0]))
        done, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            scorer.score(vector.vectorise(mails[done % len(mails)]))
            done += 1
        answer.put(done / (time.monotonic() - began))


def _in_children(count: int, work: Callable[..., None], *arguments: object) -> list[float]:
    context = multiprocessing.get_context("spawn")  # a child that inherits nothing: honest memory
    answer: multiprocessing.Queue[float] = context.Queue()
    children = [context.Process(target=work, args=(*arguments, answer)) for _ in range(count)]
    for child in children:
        child.start()
    found = [answer.get(timeout=300) for _ in children]
    for child in children:
        child.join()
    return found


def bench_model(files: Sequence[Path]) -> dict[str, object]:
    from spamd.message import links, parsing, text, vector
    from spamd.model import explanation

    gc.collect()
    gc.freeze()  # as the daemon does: what is loaded once is not looked through again
    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        verdict = lambda raw: scorer.score(vector.vectorise(raw))  # noqa: E731
        if files:
            mails = [file.read_bytes() for file in files]
            return {
                "files": len(mails),
                "bytes_mean": round(statistics.mean(map(len, mails))),
                "verdict_cpu_ms": _told(each_cpu_ms(verdict, mails)),
                "first_sight_cpu_ms": _told(each_cpu_ms(verdict, mails, before=forget)),
            }
        groups = {"8kB": small_mails(), "38kB": big_mails(), "10MB": [with_attachment(10_000_000)]}
        warm = {name: each_cpu_ms(verdict, group) for name, group in groups.items()}
        cold = {name: each_cpu_ms(verdict, group, before=forget) for name, group in groups.items()}
        found: dict[str, object] = {
            "mails": {name: len(group) for name, group in groups.items()},
            "bytes_mean": {name: round(statistics.mean(map(len, group))) for name, group in groups.items()},
            "verdict_cpu_ms": {name: round(statistics.median(times), 3) for name, times in warm.items()},
            "verdict_cpu_ms_mean": {name: round(statistics.mean(times), 3) for name, times in warm.items()},
            "first_sight_cpu_ms": {name: round(statistics.median(times), 3) for name, times in cold.items()},
        }
        raw = groups["38kB"][
            sorted(range(len(groups["38kB"])), key=warm["38kB"].__getitem__)[len(groups["38kB"]) // 2]
        ]
        message = parsing.parse(raw)
        read = text.read(message)
        features = vector.vectorise(raw)
        parse = cpu_ms(lambda: parsing.parse(raw))
        reading = cpu_ms(lambda: text.read(message))
        whole = cpu_ms(lambda: vector.vectorise(raw))
        found["stage_cpu_ms"] = {
            "parse": round(parse, 3),
            "text": round(reading, 3),
            "links": round(cpu_ms(lambda: links.find(message, read)), 3),
            "features": round(max(0.0, whole - parse - reading), 3),
            "inference": round(cpu_ms(lambda: scorer.score(features)), 4),
        }
        times = []
        for _ in range(2000):
            began = time.perf_counter()
            scorer.score(features)
            times.append(time.perf_counter() - began)
        found["inference_us_p50"] = round(statistics.median(times) * 1e6, 1)
        found["explain_ms"] = round(cpu_ms(lambda: explanation.explain(features, scorer)), 2)
    mails = [file.read_bytes() for file in sorted(MAIL.glob("*/*.eml"))]
    found["startup_ms"] = round(startup_ms(), 1)
    found["rss_mb"] = round(_in_children(1, _rss_after_a_thousand, mails)[0], 1)
    rates = _in_children(os.cpu_count() or 1, _score_for, 4.0, mails)
    found["messages_per_s"] = round(sum(rates))
    return found


def _told(times: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 3),
        "mean": round(statistics.mean(times), 3),
        "max": round(max(times), 3),
    }


def startup_ms() -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "spamd", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
        )
        times.append(time.monotonic() - began)
    return statistics.median(times) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="daemon, mailbox, pages, or mail files")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long `daemon` looks at the idle daemon"
    )
    given = parser.parse_args()
    what = given.what[0] if given.what else ""
    if what == "daemon":
        from bench_daemon import bench_daemon

        found = bench_daemon(minutes=given.minutes)
    elif what == "mailbox":
        from bench_mailbox import bench_mailbox

        found = bench_mailbox()
    elif what == "pages":
        from bench_pages import bench_pages

        found = bench_pages()
    else:
        found = bench_model([Path(one) for one in given.what])
    if given.json:
        print(json.dumps(found))
    else:
        _tell(found)
    return 0


def _tell(found: object, indent: str = "") -> None:
    if isinstance(found, dict):
        for name, value in found.items():
            if isinstance(value, dict):
                print(f"{indent}{name}")
                _tell(value, indent + "  ")
            else:
                print(f"{indent}{name:<28} {value}")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())
