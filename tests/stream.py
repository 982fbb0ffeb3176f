"""A small stream of labelled mail with an index, as scripts/evaluate.py reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.training.test_night import letter


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
