"""Nights, back-off, IDLE renewal, the flood brake."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from spamd.judgement import brake, schedule

UTC = dt.UTC
NIGHT = dt.datetime(2026, 11, 29, 2, 30, tzinfo=UTC).timestamp()
NOON = dt.datetime(2026, 11, 29, 12, 0, tzinfo=UTC).timestamp()


def due(now, **more):
    usual = {
        "last_night": None,
        "new_labels": 20,
        "min_labels": 8,
        "start": "02:00",
        "end": "06:00",
        "on_mains": True,
        "on_battery_allowed": False,
        "zone": UTC,
    }
    return schedule.night_is_due(now, **{**usual, **more})


def test_a_night_in_its_window():
    assert due(NIGHT).due
    assert not due(NOON).due
    assert not due(NIGHT, last_night=NIGHT - 600).due
    assert due(NIGHT, last_night=NIGHT - 86400).due


def test_what_a_night_waits_for():
    assert "1 more label until" in due(NIGHT, new_labels=7).reason
    assert due(NIGHT, on_mains=False).reason == "waiting for mains power"
    assert due(NIGHT, on_mains=False, on_battery_allowed=True).due
    assert not due(NIGHT, idle_seconds=5).due
    assert due(NIGHT, idle_seconds=3600).due


def test_a_missed_night_is_made_up_for_when_idle():
    assert due(NOON, last_night=NOON - 40 * 3600, idle_seconds=3600).due
    assert not due(NOON, last_night=NOON - 40 * 3600, idle_seconds=10).due
    assert not due(NOON, last_night=NOON - 10 * 3600, idle_seconds=3600).due


def test_a_machine_that_sleeps_through_every_window_has_its_first_night_too():
    assert not due(NOON, idle_seconds=3600).due
    assert not due(NOON, began=NOON - 10 * 3600, idle_seconds=3600).due
    assert due(NOON, began=NOON - 40 * 3600, idle_seconds=3600).due
    assert due(NIGHT, began=NIGHT - 600).due, "a night in its window needs no missed one"


def test_an_idle_machine_is_not_waited_for_for_ever():
    for never in ({"last_night": NIGHT - 4 * 86400}, {"began": NIGHT - 4 * 86400}):
        assert due(NIGHT, **never, idle_seconds=0).due, "always under load"
        assert due(NIGHT + 12 * 3600, **never, idle_seconds=None).due, "nobody tells"
        assert not due(NIGHT + 12 * 3600, **never, idle_seconds=0).due, "somebody works"
    assert not due(NOON, last_night=NOON - 2 * 86400, idle_seconds=None).due


def test_a_clock_set_back_runs_no_second_night():
    assert not due(NIGHT, last_night=NIGHT + 3600).due


@pytest.mark.parametrize(
    ("at", "inside"), [("23:00", True), ("03:00", True), ("05:00", False), ("21:59", False)]
)
def test_a_window_over_midnight(at, inside):
    hour, minute = map(int, at.split(":"))
    assert schedule.in_window(dt.datetime(2026, 1, 1, hour, minute, tzinfo=UTC), "22:00", "05:00") is inside


def test_backoff_grows_is_spread_and_bounded():
    rng = random.Random(1)
    for attempt in range(1, 40):
        ceiling = min(300.0, 2.0 ** min(attempt, 20))
        for _ in range(20):
            assert ceiling / 2 <= schedule.backoff(attempt, rng) <= ceiling
    assert schedule.backoff(1, rng, busy=True) >= 30
    assert len({schedule.backoff(5, rng) for _ in range(20)}) == 20


def test_idle_renewal():
    rng = random.Random(1)
    assert all(540 <= schedule.idle_renewal(rng) <= 1740 for _ in range(100))
    assert schedule.idle_renewal(rng, limit=30) == 30


def test_sleep_is_noticed():
    assert schedule.slept(5.0, 3600.0, 5.0)
    assert schedule.slept(3600.0, 3600.0, 5.0)
    assert schedule.slept(5.0, -3600.0, 5.0)
    assert not schedule.slept(5.0, 5.2, 5.0)


def check(**more):
    usual = {"last_hour": 0, "last_weeks": 0, "first_move_at": None, "cap_per_hour": 200, "now": NOON}
    return brake.check(**{**usual, **more})


def test_the_cap():
    assert not check(last_hour=199).held
    pulled = check(last_hour=200)
    assert pulled.held
    assert "200" in pulled.reason
    assert check(held=pulled) is pulled, "it stays pulled until the person lets go"
    assert check(last_hour=1, cap_per_hour=1).held
    assert not check(last_hour=10_000, cap_per_hour=0).held, "0: no cap"


def test_a_surge_needs_a_history():
    month = NOON - 30 * 86400
    assert not check(last_hour=120).held
    assert check(last_hour=120, first_move_at=month, last_weeks=336).held
    assert check(last_hour=50, first_move_at=month).held, "nothing for two weeks is a history, too"
    assert not check(last_hour=49, first_move_at=month, last_weeks=10).held
    assert not check(last_hour=120, first_move_at=month, last_weeks=336 * 20).held
    assert not check(last_hour=120, first_move_at=NOON - 6 * 86400).held, "of a few days nothing is usual"
    six_an_hour = {"first_move_at": NOON - 8 * 86400, "last_weeks": 8 * 24 * 6}
    assert not check(last_hour=55, **six_an_hour).held, "since the first move, not over two weeks"
    assert check(last_hour=65, **six_an_hour).held
