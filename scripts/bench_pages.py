"""How long each page takes with a full store: CPU and wall time per page.

    python scripts/bench_pages.py [MAILS]         default: 100000

`bench_pages(mails)` is for scripts/bench.py. Uses the tests' small world, filled up.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx

from spamd.domain import Identity, Label, LabelRecord, LabelSource, Verdict
from tests.web.world import DAY, World, move

PAGES = (
    "/",
    "/?show=junk",
    "/review",
    "/labels",
    "/search?q=ticket",
    "/search?q=kalefrost",
    "/why/{why}",
    "/similar/{why}",
    "/trends?days=30",
    "/charts/mail.svg?days=30",
    "/charts/calibration.svg?days=30",
    "/charts/hosts.svg?days=30",
    "/model",
    "/accounts",
    "/accounts/home",
    "/lists",
    "/settings",
    "/log",
    "/undo?since=2020-01-01T00:00",
    "/api/v1/status",
    "/api/v1/review?limit=20",
)


@dataclass(frozen=True, slots=True)
class Row:
    page: str
    first_ms: float  # CPU of the first answer, when nothing is remembered
    cpu_ms: float  # CPU of one answer of the next ten, mean, server and caller
    wall_ms: float  # median of the next ten
    kilobytes: float


def fill(world: World, mails: int) -> None:
    """So many more judgements over a year, one in eight labelled, junk moved."""
    random.seed(11)
    pattern = world.store.judgements(limit=100)
    sample = {verdict: [m for m in pattern if m.decision.verdict is verdict] for verdict in Verdict}
    vector = world.store.vector_of(pattern[0].account, pattern[0].identity)
    for number in range(mails):
        verdict = random.choices(list(Verdict), [60, 4, 36])[0]
        base = random.choice(sample[verdict])
        at = world.now - 365 * DAY * (1 - number / mails) - 1
        words = f"{base.subject} {number % 9973}" + (" kalefrost" if number % 5000 == 0 else "")
        mail, _ = world.store.record_judgement(
            replace(
                base,
                id=0,
                identity=Identity(f"hash:{number:060x}beef"),
                at=at,
                subject=words,
                label=None,
                moved=False,
            ),
            vector=vector if number > mails - 5000 else None,
        )
        if verdict is Verdict.JUNK and number % 4 == 0:
            move(world.store, mail, at)
        if number % 8 == 0:
            label = Label.SPAM if verdict is Verdict.JUNK else Label.HAM
            world.store.add_label(
                LabelRecord(mail.account, mail.identity, label, LabelSource.DRAG, 1.0, at + 60)
            )


def pages(mails: int = 100_000, only: str = "") -> list[Row]:
    """One row per page."""
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home), hostile=False)
        try:
            started = time.perf_counter()
            fill(world, mails)
            print(f"filled with {mails} mails in {time.perf_counter() - started:.0f} s", file=sys.stderr)
            world.server.start()
            with httpx.Client(base_url=world.server.url, timeout=120, trust_env=False) as client:
                client.get(f"/open?code={world.server.access.new_code()}").raise_for_status()
                return [_measure(client, world, page) for page in PAGES if only in page]
        finally:
            world.close()


def bench_pages(mails: int = 100_000) -> dict[str, dict[str, float]]:
    """For scripts/bench.py."""
    return {
        row.page: {
            "first cpu ms": round(row.first_ms, 1),
            "cpu ms": round(row.cpu_ms, 1),
            "wall ms": round(row.wall_ms, 1),
        }
        for row in pages(mails)
    }


def _measure(client: httpx.Client, world: World, page: str) -> Row:
    path = page.format(why=world.why_id)
    headers = {}
    if path.startswith("/api/"):
        headers["Authorization"] = f"Bearer {world.server.access.token}"
    world.control._kept = {}  # as after a change: nothing is remembered
    started = time.process_time()
    answer = client.get(path, headers=headers)
    answer.raise_for_status()
    first = time.process_time() - started
    walls, cpu = [], time.process_time()
    for _ in range(10):
        started = time.perf_counter()
        client.get(path, headers=headers)
        walls.append(time.perf_counter() - started)
    cpu = (time.process_time() - cpu) / 10
    return Row(page, first * 1000, cpu * 1000, sorted(walls)[5] * 1000, len(answer.content) / 1024)


if __name__ == "__main__":
    for row in pages(
        int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else ""
    ):
        print(
            f"{row.page:36} first cpu {row.first_ms:7.1f} ms  cpu {row.cpu_ms:6.1f} ms  wall {row.wall_ms:6.1f} ms {row.kilobytes:7.1f} kB"
        )
