"""How values look: hostile text, shares, times; and the pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd import reasons
from spamd.answers import AccountPhase, CalibrationBin, HostCount, NightView, PromiseCheck, Trends
from spamd.domain import AccountName, DayCount, ModelId, Reason
from spamd.message import vector
from spamd.model import gate
from spamd.web import charts, shown

NOW = datetime(2026, 11, 29, 15, 0).astimezone().timestamp()


@given(st.text(max_size=300))
def test_one_line_is_one_short_line(text):
    line = shown.one_line(text, 40)
    assert len(line) <= 40 and line == line.strip()
    assert not {"\n", "\r", "\x00", "\u202e", "\u2066", "\u200b", "\u2028"} & set(line)


@given(st.text(max_size=300))
def test_raw_text_hides_nothing(text):
    seen = shown.raw_text(text)
    assert not set(seen) & {"\u202e", "\u2066", "\u200b", "\x00", "\x1b", "\r", "\ufeff"}
    assert seen.count("\n") == text.count("\n")


def test_raw_text_names_what_cannot_be_seen():
    assert shown.raw_text("a\u202eb\u200bc\x1b[0m\U000e0041") == "a⟨RLO⟩b⟨ZWSP⟩c␛[0m⟨U+E0041⟩"


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (None, 0, "–"),
        (0.0, 0, "0 %"),
        (1.0, 0, "100 %"),
        (0.9999, 0, "> 99.9 %"),
        (0.00001, 1, "< 0.1 %"),
        (0.004, 0, "0.4 %"),
        (0.934, 1, "93.4 %"),
    ],
)
def test_percent_never_rounds_to_certainty(share, digits, text):
    assert shown.percent(share, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60, "14:59"), (86400, "yesterday 15:00"), (3 * 86400, "26 Nov 15:00"), (366 * 86400, "28 Nov 2025")],
)
def test_when(seconds, text):
    assert shown.when(NOW - seconds, NOW) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.000449, "0.045 %"),
        (0.0008, "0.08 %"),
        (0.0779, "7.8 %"),
        (0.181, "19 %"),
        (0.996, "100 %"),
        (0.0, "0 %"),
    ],
)
def test_an_upper_bound_is_rounded_up(share, text):
    assert shown.at_most(share) == text
    assert shown.bound(share) >= share


def test_ago_and_odds():
    assert shown.ago(NOW - 61, NOW) == "1 minute ago" and shown.ago(NOW + 5, NOW) == "just now"
    assert shown.ago(None, NOW) == "not yet"
    assert shown.odds(0.01) == "hardly matters"
    assert shown.odds(2.0) == "7.4 times likelier to be junk"
    assert "less likely" in shown.odds(-1e9)
    # A model that has learned the copy finds no difference; the verdict is the copy's all the same.
    assert shown.effect(Reason("copy", "Nearly the same", 0.0)) == "goes before the score"
    assert shown.effect(Reason("word", "offer", 2.0)) == shown.odds(2.0)


@pytest.mark.parametrize("text", ["", "x", "2026-13-40", "99999-01-01", "2026-11-29; DROP", "\x00"])
def test_nonsense_is_no_day(text):
    assert shown.day_start(text) is None and shown.day_end(text) is None


def test_a_day_ends_where_the_next_begins():
    assert shown.day_end("2026-11-28") == shown.day_start("2026-11-29")
    assert shown.moment("2026-11-29T15:00") == NOW


EMPTY = Trends(30, (), (), (), (), ())
FULL = Trends(
    30,
    tuple(DayCount(f"2026-11-{day:02}", day, 1, 2, 1, day % 3, 0) for day in range(1, 30)),
    (PromiseCheck(AccountName("</text><script>alert(1)</script>"), 0.001, 900, 1, 1 / 900, 0.005),),
    (CalibrationBin(0.9, 1.0, 0.97, 0.95, 400),),
    (HostCount("<script>alert(1)</script>\u202e.example", 5), HostCount("a&b.example", 3)),
    (NightView(ModelId("personal-1"), NOW, 10, 20, {}, ()),),
)


@pytest.mark.parametrize("trends", [EMPTY, FULL], ids=["empty", "full"])
@pytest.mark.parametrize("name", charts.CHARTS)
def test_pictures_are_pictures_only(name, trends):
    picture = charts.draw(name, trends)
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [
        e for e in root.iter() if e.tag.rpartition("}")[2] in ("script", "foreignObject", "image", "use", "a")
    ]
    assert (
        b"max-width: 400px) { .axis text { font-size: 17px" in picture
    )  # shrunk to a phone, they can be read
    assert b"prefers-color-scheme: dark" in picture and b"http://" not in picture.replace(
        b"http://www.w3.org/", b""
    )


def test_there_are_no_other_pictures():
    assert charts.draw("passwords", FULL) is None


_SCORED = gate.Scored(np.array([0.9, 0.1]), np.array([0.9, 0.1]), np.array([True, False]))
NIGHT = gate.Night(held=_SCORED, rescued=_SCORED, pinned=_SCORED, shipped=np.array([0.9, 0.1]))


def test_figures_tricks_and_links_are_in_words():
    """What a model's card or a mail names, as the program writes it."""
    names = gate.judge(NIGHT).figures
    assert {name for name in names if name not in shown._FIGURES} == set()
    letter = (
        b"From: a@b.example\r\nSubject: x\r\nContent-Type: text/html\r\n\r\n"
        b"<p>acc<!-- x -->ount p\xe2\x80\x8bassword</p><div style='display:none'>a meeting on Monday</div>"
        b"<a href='http://1.2.3.4:81/'>https://www.bank.com/</a>"
    )
    features = vector.vectorise(letter)
    found = {*features.text.tricks, *(flag for link in features.links for flag in link.flags)}
    assert len(found) > 5 and found <= set(reasons._CLUES)


@pytest.mark.parametrize(
    ("phases", "tone"),
    [
        ([], "doubt"),
        ([AccountPhase.WATCHING], "good"),
        ([AccountPhase.WATCHING, AccountPhase.OFFLINE], "doubt"),
        ([AccountPhase.SIGN_IN, AccountPhase.WATCHING], "bad"),
    ],
)
def test_the_tone_of_all_is_that_of_the_worst(phases, tone):
    assert shown.worst_tone(phases) == tone
