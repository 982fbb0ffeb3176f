"""Labelled mail that is easily told apart, and a small stream of it with an index, as scripts/evaluate.py reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.unit.model.made import mail

TOPICS = (
    "pills watches replica discount pharmacy",
    "lottery winner million transfer claim",
    "casino bonus spins jackpot play",
)
TALK = (
    "project report meeting draft review",
    "garden tomatoes weekend barbecue family",
    "train tickets hotel conference Leipzig",
)


def letter(rng: np.random.Generator, spam: bool) -> bytes:
    words = " ".join(rng.choice((TOPICS if spam else TALK)[rng.integers(3)].split(), 4))
    filler = " ".join(f"w{number}" for number in rng.integers(0, 5000, 30))
    text = (
        f"{words} {filler} {words} http://shop{rng.integers(99)}.example/"
        if spam
        else f"Hi, {words} {filler}. Bye, Anna"
    )
    return mail(
        f"{words} {rng.integers(1000)}",
        text,
        sender="Shop <a@shop.example>" if spam else "Anna <anna@work.example>",
    )


def written(folder: Path, *, days: int, per_day: int, seed: int) -> Path:
    """The index of so many days of so many mails; every second mail is spam."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(days * per_day):
        spam = number % 2 == 1
        (folder / f"{number}.eml").write_bytes(letter(rng, spam))
        lines.append(f"{'spam' if spam else 'ham'} {number}.eml {number // per_day}")
    (folder / "stream.idx").write_text("\n".join(lines) + "\n")
    return folder / "stream.idx"
