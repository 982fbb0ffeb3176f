"""Every scenario is played by a test, and the look at the end of each test can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scenarios import SCENARIOS, played
from tests.servers.invariant import check
from tests.servers.mailhost import Kept, Lying, mail, normal


def test_every_scenario_is_played():
    tests = played()
    assert sorted(SCENARIOS) == list(range(1, 45))
    assert not [number for number in SCENARIOS if not tests.get(number)]
    assert not set(tests) - set(SCENARIOS)


ONE, TWO = mail("one"), mail("two")


def lying(*mails, flags=()):
    return [Lying("Junk", uid, raw, frozenset(flags)) for uid, raw in enumerate(mails)]


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (lying(ONE, TWO), ""),
        (lying(ONE), "lost"),
        (lying(ONE, TWO, TWO), "doubled"),
        (lying(ONE, TWO, mail("of somebody else")), ""),
        ([*lying(ONE), *lying(TWO, flags=["\\Seen"])], "newly read"),
    ],
)
def test_what_the_look_at_the_end_finds(found, complaint):
    kept = Kept(Counter(normal(raw) for raw in (ONE, TWO)))
    if complaint:
        with pytest.raises(AssertionError, match=complaint):
            check(kept, found)
    else:
        check(kept, found)
