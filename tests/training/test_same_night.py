"""The same labels give the same night, in whatever process: else forgetting would not be exact."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spamd import paths
from spamd.domain import AccountName, Identity, Label, LabelRecord, LabelSource
from spamd.message.vector import pack, vectorise
from spamd.model.bundle import MODEL, WEIGHTS, digest
from spamd.store.database import Store
from tests.stream import letter
from tests.unit.model.made import mail

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]


def link_of_a_chain(number: int) -> bytes:
    """Much like the mails before and after it, hardly like those far from it."""
    numbers = range(number * 4, number * 4 + 200)
    words = " ".join("".join("abcdefghij"[int(digit)] for digit in f"{one:05d}") for one in numbers)
    return mail(f"offer {number}", f"{words} http://shop.example/{number}", sender="Shop <a@shop.example>")


def test_the_order_of_sets_decides_nothing(tmp_path: Path) -> None:
    """Which of a chain of near-copies count must not hang on Python's hash seed."""
    rng = np.random.default_rng(5)
    account = AccountName("home")
    with Store(tmp_path / "spamd.db") as store:
        for number in range(90):
            spam = number % 2 == 0
            raw = link_of_a_chain(int(rng.integers(60))) if spam else letter(rng, False)
            identity = Identity(f"hash:{number}")
            store.put_vector(account, identity, pack(vectorise(raw)))
            label = Label.SPAM if spam else Label.HAM
            store.add_label(LabelRecord(account, identity, label, LabelSource.DRAG, 1.0, 1000.0 + number))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "spamd.training", "--database", tmp_path / "spamd.db", "--parent",
             paths.shipped_model(), "--out", tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = tmp_path / "1", tmp_path / "2"
    assert digest(one / MODEL) == digest(two / MODEL)
    with np.load(one / WEIGHTS) as first, np.load(two / WEIGHTS) as second:
        for name in ("ids", "weights", "accumulator"):
            np.testing.assert_array_equal(first[name], second[name])
