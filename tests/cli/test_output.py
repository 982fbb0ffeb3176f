"""Times and spans as people type them; mail text cannot steer a terminal."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from spamd.answers import Progress
from spamd.cli import daily, output
from spamd.errors import RequestError
from tests.web.world import World

NOW = datetime.datetime(2026, 11, 26, 15, 30).astimezone().timestamp()  # a Thursday


def local(*parts: int) -> float:
    return datetime.datetime(*parts).astimezone().timestamp()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("today", local(2026, 11, 26)),
        ("Yesterday", local(2026, 11, 25)),
        ("tuesday", local(2026, 11, 24)),
        ("thursday", local(2026, 11, 26)),
        ("friday", local(2026, 11, 20)),
        ("2026-11-24", local(2026, 11, 24)),
        ("2026-11-24 18:00", local(2026, 11, 24, 18)),
        ("24.11.2026", local(2026, 11, 24)),
        ("3 days", NOW - 3 * 86400),
        ("2h ago", NOW - 7200),
    ],
)
def test_a_moment(typed: str, expected: float) -> None:
    assert output.moment(typed, now=NOW) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("90s", 90), ("30 min", 1800), ("2h", 7200), ("1 hour", 3600), ("3 days", 259200), ("1 week", 604800)],
)
def test_a_span(typed: str, expected: float) -> None:
    assert output.seconds(typed) == expected


@pytest.mark.parametrize("typed", ["", "soon", "h", "12", "-3h", "3 fortnights", "2026-13-45"])
def test_what_is_no_time_says_what_is(typed: str) -> None:
    with pytest.raises(RequestError) as caught:
        output.moment(typed, now=NOW)
    assert "Try" in caught.value.hint


def test_a_subject_cannot_steer_the_terminal() -> None:
    hostile = "\x1b[31mred\x07\r\n\u202eesrever\u200b \x9b2J"
    assert not set(output.plain(hostile)) & set("\x1b\x07\r\n\u202e\u200b\x9b")
    assert "red" in output.plain(hostile)


def test_a_pipe_gets_tabs_and_no_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("a", "b"), [(1, "x\ty"), (2, None)], empty="nothing")
    assert capsys.readouterr().out == "a\tb\n1\tx y\n2\t\n"
    output.table(("a",), [], empty="nothing")
    assert capsys.readouterr().out == "nothing\n"


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 mail waits"), (99, "99 mails wait"), (100, "More than 99 mails wait")]
)
def test_status_says_how_many_mails_wait(tmp_path, capsys, count: int, said: str) -> None:
    world = World(tmp_path)
    try:
        status = world.control.status()
    finally:
        world.close()
    daily._tell_status(replace(status, review_waiting=count), {})
    assert f"{said} for your word" in capsys.readouterr().out


def test_status_says_why_a_training_failed(tmp_path, capsys) -> None:
    world = World(tmp_path)
    try:
        world.engine.work = [Progress("train", None, 0, 0, "", world.now, finished=True, error="No room.")]
        daily._tell_status(world.control.status(), {})
    finally:
        world.close()
    assert "No room." in capsys.readouterr().out.splitlines()
