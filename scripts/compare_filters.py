#!/usr/bin/env python3
"""Run another filter over the same stream of labelled mail as scripts/evaluate.py, by the same rules.

    scripts/compare_filters.py --index INDEX --filter bogofilter|spamprobe|spamassassin|rspamd|letters --out RESULTS

Each message is scored first and then learned: at once (--protocol immediate) or with all others of its day after the
day's last one (nightly). RESULTS gets lines `label score day`. The filters are the Debian packages with their own
defaults, without network look-ups; their learning by themselves is off, since the stream tells every label:

bogofilter    package bogofilter
spamprobe     package spamprobe
spamassassin  packages spamassassin, spamd, spamc: its rules and its Bayes part
rspamd        packages rspamd, redis-server: its rules and its Bayes part
letters       nothing to install: logistic regression on the runs of four bytes of the first 3,000 (Goodman and Yih,
              "Online discriminative spam filter training", CEAS 2006), the plain yardstick of what letters alone can do

The last line on standard output is a JSON summary with the CPU ms that scoring and learning took per mail.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from scripts.evaluate import Mail, in_days, progress, read_index, read_mail  # noqa: E402
from spamd.domain import Label  # noqa: E402

START_SECONDS = 600  # rspamd compiles its expressions first


class Filter(Protocol):
    def score(self, raw: bytes) -> float:
        """Higher is spammier."""

    def learn(self, raw: bytes, label: Label) -> None: ...


class Letters:
    BUCKETS, BYTES, RATE = 2**18, 3000, 0.004

    def __init__(self) -> None:
        self._weights = np.zeros(self.BUCKETS)

    def _ids(self, raw: bytes) -> np.ndarray:
        codes = np.frombuffer(raw[: self.BYTES].ljust(4), np.uint8).astype(np.uint64)
        runs = codes[:-3] | codes[1:-2] << 8 | codes[2:-1] << 16 | codes[3:] << 24
        spread = runs * np.uint64(0x9E3779B97F4A7C15)  # the golden ratio's bits (Knuth, TAOCP 3, 6.4)
        return np.unique(spread >> np.uint64(64 - 18))

    def score(self, raw: bytes) -> float:
        return float(self._weights[self._ids(raw)].sum())

    def learn(self, raw: bytes, label: Label) -> None:
        ids = self._ids(raw)
        logit = float(np.clip(self._weights[ids].sum(), -500, 500))
        self._weights[ids] += self.RATE * ((label is Label.SPAM) - 1 / (1 + np.exp(-logit)))


class Program:
    """A filter that is one process per mail."""

    def __init__(
        self, score: list[str], spam: list[str], ham: list[str], answer: str, *, first: float | None = None
    ) -> None:
        """answer: where the score is in what it prints. first: the score where it cannot tell one before it learned."""
        self._score, self._learn = score, {Label.SPAM: spam, Label.HAM: ham}
        self._answer, self._first = re.compile(answer), first

    def score(self, raw: bytes) -> float:
        if self._first is not None:
            return self._first
        told = _run(self._score, raw)
        found = self._answer.search(told)
        if not found:
            raise RuntimeError(f"{self._score[0]} answered {told[:200]!r}")
        return float(found[1])

    def learn(self, raw: bytes, label: Label) -> None:
        _run(self._learn[label], raw)
        self._first = None


def _run(command: list[str], raw: bytes) -> str:
    """What it prints. Its exit code is its verdict and no error."""
    done = subprocess.run(command, input=raw, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode("latin-1")


@contextlib.contextmanager
def letters(home: Path) -> Iterator[Filter]:
    yield Letters()


@contextlib.contextmanager
def bogofilter(home: Path) -> Iterator[Filter]:
    program = ["bogofilter", "-d", str(home)]
    yield Program([*program, "-TT"], [*program, "-s"], [*program, "-n"], r"([\d.]+)\s*$", first=0.5)


@contextlib.contextmanager
def spamprobe(home: Path) -> Iterator[Filter]:
    program = ["spamprobe", "-d", str(home)]
    yield Program([*program, "score"], [*program, "spam"], [*program, "good"], r"([\d.]+)\s*$", first=0.5)


@contextlib.contextmanager
def spamassassin(home: Path) -> Iterator[Filter]:
    home.chmod(0o777)  # started by root it works as nobody
    site = home / "site"
    shutil.copytree("/etc/spamassassin", site)
    with (site / "local.cf").open("a") as settings:
        settings.write(
            f"\nuse_bayes 1\nbayes_auto_learn 0\nbayes_path {home}/bayes\nuse_razor2 0\nuse_pyzor 0\n"
        )
    port = _free_port()
    server = ["spamd", "-L", "-l", "-x", "-m", "1", "-i", f"127.0.0.1:{port}", f"--siteconfigpath={site}"]
    with _serving([*server, "-H", str(home), "-s", "null"], port):
        client = ["spamc", "-d", "127.0.0.1", "-p", str(port), "-s", str(10 * 2**20)]
        yield Program(
            [*client, "-c"], [*client, "-L", "spam"], [*client, "-L", "ham"], r"^(-?[\d.]+)/[1-9]"
        )  # "0/0": no answer


@contextlib.contextmanager
def rspamd(home: Path) -> Iterator[Filter]:
    words, port, controller = _free_port(), _free_port(), _free_port()
    local = home / "local.d"
    local.mkdir()
    (local / "redis.conf").write_text(f'servers = "127.0.0.1:{words}";\n')
    (local / "classifier-bayes.conf").write_text('backend = "redis";\nautolearn = false;\n')
    (local / "worker-normal.inc").write_text(f'bind_socket = "127.0.0.1:{port}";\ncount = 1;\n')
    (local / "worker-controller.inc").write_text(
        f'bind_socket = "127.0.0.1:{controller}";\ncount = 1;\nsecure_ip = "127.0.0.1";\n'
    )
    (local / "worker-proxy.inc").write_text("enabled = false;\n")
    (local / "worker-fuzzy.inc").write_text("enabled = false;\n")
    (local / "logging.inc").write_text(f'type = "file";\nfilename = "{home}/rspamd.log";\nlevel = "error";\n')
    (local / "options.inc").write_text(
        'dns { nameserver = ["127.0.0.1"]; timeout = 0.001s; retransmits = 1; }\n'
    )
    for module in (
        "rbl",
        "surbl",
        "fuzzy_check",
        "dkim",
        "spf",
        "dmarc",
        "arc",
        "greylist",
        "ratelimit",
        "mx_check",
        "phishing",
        "asn",
        "history_redis",
        "neural",
        "replies",
        "hfilter",
    ):
        (local / f"{module}.conf").write_text("enabled = false;\n")
    places = {"LOCAL_CONFDIR": home, "RUNDIR": home, "DBDIR": home, "LOGDIR": home}
    variables = [f"--var={name}={value}" for name, value in places.items()]
    with (
        _serving(
            ["redis-server", "--port", str(words), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""],
            words,
        ),
        _serving(["rspamd", "-f", "-i", *variables], controller, port),
    ):
        client = ["rspamc", "-h"]
        scan, learn = f"127.0.0.1:{port}", f"127.0.0.1:{controller}"
        yield Program(
            [*client, scan, "symbols"],
            [*client, learn, "learn_spam"],
            [*client, learn, "learn_ham"],
            r"Score: (-?[\d.]+) /",
        )


FILTERS = {one.__name__: one for one in (bogofilter, spamprobe, spamassassin, rspamd, letters)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def _serving(command: list[str], *ports: int) -> Iterator[None]:
    """The server runs and listens on all of them. RuntimeError if it ends or does not listen."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS
        while not all(map(_listens, ports)):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not start")
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def stream(mails: list[Mail], judge: Filter, nightly: bool) -> Iterator[tuple[Label, float, int]]:
    day = 0
    waiting: list[Mail] = []
    for mail in progress(in_days(mails)):
        raw = read_mail(mail)
        today = mail.day or 0
        if today != day:
            for old in waiting:
                judge.learn(read_mail(old), old.label)
            day, waiting = today, []
        yield mail.label, judge.score(raw), today
        if nightly:
            waiting.append(mail)
        else:
            judge.learn(raw, mail.label)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--filter", choices=FILTERS, required=True)
    parser.add_argument("--protocol", choices=["immediate", "nightly"], default="immediate")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args(arguments)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        mails = read_index(given.index, given.limit)
    except (OSError, ValueError) as exc:
        parser.error(str(exc))
    if not mails:
        parser.error(f"{given.index} names no mail")
    with tempfile.TemporaryDirectory() as folder, given.out.open("w", encoding="utf-8") as out:
        try:
            with FILTERS[given.filter](Path(folder)) as judge:
                for label, score, day in stream(mails, judge, given.protocol == "nightly"):
                    out.write(f"{label} {score:.9g} {day}\n")
        except FileNotFoundError as missing:
            parser.error(f"{missing.filename} is not installed: apt-get install the packages named by --help")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({"messages": len(mails), "cpu_ms": round(1000 * cpu / len(mails), 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
