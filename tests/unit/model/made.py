"""Vectors and models made for the tests of the model room."""

from __future__ import annotations

import dataclasses
import random
import shutil
from pathlib import Path

import numpy as np

from spamd import paths
from spamd.domain import ModelCard, ModelId
from spamd.message import vector
from spamd.model.bundle import digest, read_card, write_card

FINGERPRINT = np.zeros(66, np.uint32)
MODERN_HAM = sorted((Path(__file__).parents[2] / "data" / "modern_ham").glob("*.eml"))

PARCEL = """Dear {name},

your parcel number {number} could not be delivered because a customs fee of {price} EUR has not been paid. Please confirm
the payment within 24 hours, otherwise the parcel goes back to the sender. Follow this link to choose a new date for the
delivery and settle the open amount: {link}

Thank you for your understanding,
the delivery team, reference {number}
"""


def stored(
    rng: np.random.Generator, *, common: int = 60, own: int = 200, start: int = 1000
) -> vector.StoredVector:
    """A mail: some buckets that all mail has, some of its own."""
    ids = np.unique(np.concatenate([np.arange(common), start + rng.choice(20_000, own, replace=False)]))
    ids = ids.astype(np.int32)
    return vector.StoredVector(
        base_ids=ids[:120].copy(),
        dense=np.zeros(vector.DENSE, np.float32),
        personal_ids=ids,
        fingerprint=FINGERPRINT,
    )


def mail(subject: str, text: str, *, sender: str = "Anna <anna@work.example>") -> bytes:
    return (
        f"From: {sender}\r\nTo: me@home.example\r\nSubject: {subject}\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
        "Message-ID: <1@x.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    ).encode()


def flood(seed: int) -> bytes:
    """One of many copies of a mail, with other names, numbers and links."""
    rng = random.Random(seed)
    host = "".join(rng.choices("abcdefghijklmnop", k=10))
    return mail(
        f"Your parcel {rng.randrange(10**9)} is waiting",
        PARCEL.format(
            name=rng.choice(["Anna", "Bob", "Chidi", "Dana", "Emil"]),
            number=rng.randrange(10**8),
            price=f"{rng.randrange(9)}.{rng.randrange(10, 99)}",
            link=f"https://{host}.example/{rng.randrange(10**6)}",
        ),
        sender=f"Parcel <info@{host}.example>",
    )


def candidate(folder: Path, *, name: str = "personal-0000000001", created_at: float = 1.0) -> Path:
    """A whole bundle: the shipped file under another name."""
    shipped = paths.shipped_model()
    folder.mkdir(parents=True)
    shutil.copy(shipped / "base.tflite", folder / "model.tflite")
    card = read_card(shipped)
    changed: ModelCard = dataclasses.replace(
        card,
        id=ModelId(name),
        parent=card.id,
        created_at=created_at,
        sha256=digest(folder / "model.tflite"),
        files={},
    )
    write_card(folder, changed)
    return folder
