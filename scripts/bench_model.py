"""Bytes to verdict: CPU time, stage by stage, and the memory that it takes: see bench.py."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.bench_mails import MAIL, ROOT, big_mails, small_mails, with_attachment

ROUNDS = 9
SCORES = 2000  # for the median of one inference
MAILS_IN_MEMORY = 1000
SECONDS_AT_FULL_SPEED = 4.0


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


def open_scorer(home: Path):  # type: ignore[no-untyped-def]
    from spamd import paths
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer

    return Scorer(Bundles(home / "models", paths.shipped_model()))


def rss_mb() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def _rss_after(count: int, mails: list[bytes], answer: multiprocessing.Queue[float]) -> None:
    from spamd.message import vector

    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        for number in range(count):
            scorer.score(vector.vectorise(mails[number % len(mails)]))
    answer.put(rss_mb())


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


def bench_model(files: Sequence[Path], share: float) -> dict[str, object]:
    """The given files; without any, mails of 8 kB, 38 kB and 10 MB, and all the other figures."""
    from spamd.message import links, parsing, text, vector
    from spamd.model import explanation

    gc.collect()
    gc.freeze()  # as the daemon does: what is loaded once is not looked through again
    rounds = max(1, round(ROUNDS * share))
    few = None if share >= 1 else max(2, round(40 * share))
    with tempfile.TemporaryDirectory() as home:
        scorer = open_scorer(Path(home))
        verdict = lambda raw: scorer.score(vector.vectorise(raw))  # noqa: E731
        if files:
            mails = [file.read_bytes() for file in files]
            return {
                "files": len(mails),
                "bytes_mean": round(statistics.mean(map(len, mails))),
                "verdict_cpu_ms": _told(each_cpu_ms(verdict, mails, rounds=rounds)),
                "first_sight_cpu_ms": _told(each_cpu_ms(verdict, mails, rounds=rounds, before=forget)),
            }
        groups = {
            "8kB": small_mails()[:few],
            "38kB": big_mails(count=few or 30),
            "10MB": [with_attachment(10_000_000)],
        }
        warm = {name: each_cpu_ms(verdict, group, rounds=rounds) for name, group in groups.items()}
        cold = {
            name: each_cpu_ms(verdict, group, rounds=rounds, before=forget) for name, group in groups.items()
        }
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

        def stage(work: Callable[[], object]) -> float:
            return cpu_ms(work, seconds=1.5 * share)

        parse = stage(lambda: parsing.parse(raw))
        reading = stage(lambda: text.read(message))
        whole = stage(lambda: vector.vectorise(raw))
        found["stage_cpu_ms"] = {
            "parse": round(parse, 3),
            "text": round(reading, 3),
            "links": round(stage(lambda: links.find(message, read)), 3),
            "features": round(max(0.0, whole - parse - reading), 3),
            "inference": round(stage(lambda: scorer.score(features)), 4),
        }
        times = []
        for _ in range(max(10, round(SCORES * share))):
            began = time.perf_counter()
            scorer.score(features)
            times.append(time.perf_counter() - began)
        found["inference_us_p50"] = round(statistics.median(times) * 1e6, 1)
        found["explain_ms"] = round(stage(lambda: explanation.explain(features, scorer)), 2)
    mails = [file.read_bytes() for file in sorted(MAIL.glob("*/*.eml"))]
    found["startup_ms"] = round(startup_ms(max(1, round(5 * share))), 1)
    found["rss_mb"] = round(_in_children(1, _rss_after, round(MAILS_IN_MEMORY * share), mails)[0], 1)
    rates = _in_children(os.cpu_count() or 1, _score_for, SECONDS_AT_FULL_SPEED * share, mails)
    found["messages_per_s"] = round(sum(rates))
    return found


def _told(times: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 3),
        "mean": round(statistics.mean(times), 3),
        "max": round(max(times), 3),
    }


def startup_ms(times_started: int) -> float:
    """Wall milliseconds of `spamdctl --help`, the median."""
    times = []
    for _ in range(times_started):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "spamd", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
        )
        times.append(time.monotonic() - began)
    return statistics.median(times) * 1e3
