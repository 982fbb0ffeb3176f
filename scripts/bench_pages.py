"""How long each page takes with a full store, the tests' small world filled up: see bench.py."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx

from spamd.domain import Identity, Label, LabelRecord, LabelSource, Verdict
from tests.web.world import DAY, World, move

MAILS = 100_000
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


def bench_pages(share: float) -> dict[str, object]:
    """CPU and wall milliseconds of each page, and its size."""
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home), hostile=False)
        try:
            fill(world, round(MAILS * share))
            world.server.start()
            with httpx.Client(base_url=world.server.url, timeout=120, trust_env=False) as client:
                client.get(f"/open?code={world.server.access.new_code()}").raise_for_status()
                return {page: _measure(client, world, page) for page in PAGES}
        finally:
            world.close()


def _measure(client: httpx.Client, world: World, page: str) -> dict[str, float]:
    """The first answer, when nothing is remembered, and ten after it. CPU is that of server and caller."""
    path = page.format(why=world.why_id)
    headers = {}
    if path.startswith("/api/"):
        headers["Authorization"] = f"Bearer {world.server.access.token}"
    world.control.kept.clear()  # as after a change: nothing is remembered
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
    return {
        "first_cpu_ms": round(first * 1e3, 1),
        "cpu_ms": round(cpu * 1e3, 1),
        "wall_ms": round(statistics.median(walls) * 1e3, 1),
        "kilobytes": round(len(answer.content) / 1024, 1),
    }
