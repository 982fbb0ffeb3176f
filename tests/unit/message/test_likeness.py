"""Near copies: what is varied in a flood must not matter, and good mail must not be caught."""

from __future__ import annotations

import random

import numpy as np
import pytest

from spamd.message import likeness, vector
from spamd.message.likeness import COPY, Fingerprint

FLOOD = """Dear {name},

Your account {number} at Northbank has been limited after {number} unusual sign-in attempts from a new device.
To keep using your card please confirm your details within {hours} hours: {url}

If you do not confirm, your access will be suspended and a fee of {money} USD will be charged.
Reference {number}-{hours}

Kind regards,
{name2} from the security team, {address}
"""


def mail(
    text: str,
    *,
    subject: str = "Notice",
    sender: str = "a@b.example",
    reply: bool = False,
    html: bool = False,
) -> Fingerprint:
    head = f"From: {sender}\nTo: bob@home.example\nSubject: {subject}\n"
    if reply:
        head += "In-Reply-To: <1@x.example>\n"
    if html:
        head += "Content-Type: text/html\n"
    return vector.vectorise((head + "\n" + text).encode()).fingerprint


def flood(seed: int) -> Fingerprint:
    rng = random.Random(seed)

    def word(size: int) -> str:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=size))

    text = FLOOD.format(
        name=word(6).title(),
        name2=word(7).title(),
        number=rng.randrange(10**8),
        hours=rng.randrange(99),
        money=rng.randrange(999),
        url=f"https://{word(9)}.{word(5)}.com/{word(12)}?id={rng.randrange(10**9)}",
        address=f"{word(7)}@{word(8)}.com",
    )
    return mail(text, subject=f"Account {rng.randrange(10**6)} limited", sender=f"{word(8)}@{word(6)}.com")


def test_copies_with_names_numbers_and_addresses_varied_are_copies() -> None:
    first = flood(0)
    assert min(vector.similarity(first, flood(seed)) for seed in range(1, 60)) >= COPY


def test_other_mail_is_no_copy() -> None:
    others = [
        mail("Dear Bob,\nyour account statement for October is ready. Sign in to Northbank as usual to read it. " * 3),
        mail("Hi Bob, shall we have lunch on Friday? The place near the station has a new menu, and Ann will come too. "
             "Tell me if noon is fine for you, else we take one o'clock.\nGreetings, Carl"),
    ]  # fmt: skip
    assert max(vector.similarity(flood(0), other) for other in others) < 0.3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Thanks, see you tomorrow!", "Thanks, see you on Monday!"),
        ("Ok", "Ok"),
        ("Yes, that works for me.", "Yes, that does not work for me."),
        ("", ""),
        ("See attached.", "See attached."),
    ],
)
def test_short_good_replies_do_not_collide(one: str, other: str) -> None:
    assert (
        vector.similarity(
            mail(one, subject="Re: lunch", reply=True), mail(other, subject="Re: report", reply=True)
        )
        < COPY
    )


def test_a_one_line_flood_is_recognised_if_it_stays_the_same() -> None:
    text = "Earn cash from home today, no work needed, reply now for details"
    assert vector.similarity(mail(text, sender="q@r.example"), mail(text, sender="s@t.example")) >= COPY


def test_a_reply_that_says_the_same_as_an_advertisement_is_no_copy() -> None:
    text = "Earn cash from home today, no work needed"
    assert vector.similarity(mail(text), mail(text, reply=True)) < COPY


def test_many_at_once_give_the_same_as_one_by_one() -> None:
    many = np.stack([flood(seed) for seed in range(8)])
    together = vector.similarities(many[0], many)
    assert together.tolist() == pytest.approx([vector.similarity(many[0], row) for row in many])
    assert together[0] == 1.0
    assert many.shape == (8, likeness.LENGTH)
    assert many.dtype == np.uint32
