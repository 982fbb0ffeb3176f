"""Words, harmless text, hashing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spamd.message import hashing, text

HASHES = ["0x75299f76", "0x7bfbd0af"]
BUCKET = [6960]


@pytest.mark.parametrize(
    "line",
    [
        "it's 5_000 words, don't-you think? e.g. a.b",
        "Größe “schön” – naïve… 5€ ☆star☆ ½",
        "привет,мир! ελληνικά",
        "",
        "\x00\x1f a\tb\nc",
    ],
)
def test_words_are_those_of_the_regular_expression(line: str) -> None:
    assert text.split_words(line) == re.findall(r"\w+", line)


def test_scripts_without_spaces_become_pairs() -> None:
    assert text.split_words("免费发票 ok 今") == ["免费", "费发", "发票", "ok", "今"]
    assert text.split_words("カード123番") == ["カー", "ード", "123", "番"]


def test_harmless_text_shows_no_control_no_direction_no_line_break() -> None:
    assert text.harmless("a\u202eb\u200bc\x07d\ne\u2028f  g") == "abc\ufffdd e f g"
    assert text.harmless("x" * 50, 10) == "x" * 9 + "…"
    assert text.harmless("\ud800") == "\ufffd"
    assert text.harmless("👍 schön") == "👍 schön"


@pytest.mark.parametrize(
    ("value", "number"),
    [("#fff", 0xFFFFFF), ("#0A0b0C", 0x0A0B0C), ("rgb(255, 0,1)", 0xFF0001), ("white", 0xFFFFFF), ("rgba(0,0,0,0)", -1),
     ("url(x.png) #fff", 0xFFFFFF), ("url(x.png)", -2), ("inherit", None), ("ffffff", 0xFFFFFF), ("transparent", -1)],
)  # fmt: skip
def test_colours(value: str, number: int | None) -> None:
    assert text.colour(value) == number


def test_a_words_hash_depends_on_the_word_alone() -> None:
    alone = {word: int(hashing.hash_words([word])[0]) for word in ("a", "ab", "ba", "viagra", "größe", "aa")}
    assert len(set(alone.values())) == len(alone)
    together = hashing.hash_words(["x" * 5_000, *alone, "y"])
    assert together[1:-1].tolist() == list(alone.values())


def test_hashes_never_change() -> None:
    """They are in every stored vector and in the shipped model."""
    assert [hex(value) for value in hashing.hash_words(["viagra", "größe"]).tolist()] == HASHES
    assert hashing.buckets(hashing.hash_words(["viagra"]), hashing.salt("words.1"), 18).tolist() == BUCKET


def test_lengths_and_digits() -> None:
    _, lengths, digits = hashing.measure_lines("ab\nc3\nü\n77".encode())
    assert lengths.tolist() == [2, 2, 2, 2]
    assert digits.tolist() == [False, True, False, True]


def test_collisions_are_rare() -> None:
    words = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz0123"]
    hashes = hashing.hash_words(words)
    assert np.unique(hashes).size == len(words)
    spread = np.bincount(hashing.buckets(hashes, np.uint32(7), 4), minlength=16)
    assert spread.min() > 30
    assert spread.max() < 100
