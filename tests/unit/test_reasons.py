"""What the causes of a score are called: every one that a model can name, in words that a stranger reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from spamd import reasons
from spamd.message.vector import DENSE_NAMES, vectorise

GROUPS = set(reasons._GROUPS.values())


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("words: many fraud", "many words common in fraud"),
        ("words: not: talk", "no everyday words"),
        ("words: little: talk", "fewer everyday words than usual"),
        ("words: many promotion", "many words of advertising"),
        ("subject words: not: money", "no words about money"),
        ("words: little: you", "less “you” than usual"),
        ("words: you against I", "more “you” than “I”"),
        ("words: little: you against I", "less “you” beside “I” than usual"),
        ("lines: not: greeting", "no greeting"),
        ("links: not: one host only", "not all links to one host"),
        ("header: not: no sender name", "sender name"),
        ("header: not: To missing", "To there"),
        ("text: little: long words", "fewer long words than usual"),
        ("text: little: word length", "shorter words than usual"),
        ("lines: not: longest", "no lines"),
        ("links: not: none", "links"),
        ("subject: not: recurs in text", "not repeated in the text"),
        ("header: little: hops", "fewer servers on its way than usual"),
        ("header: not: authenticated", "not vouched for by your server"),
        ("trick: not: spelled-out-address", "no address in words"),
        ("trick: not: same-colour", "no text in the colour of its ground"),
        ("links: little: text differs", "fewer links whose text names another host than usual"),
    ],
)
def test_facts_that_are_measured(text: str, read: str) -> None:
    place, words = reasons.told("fact", text)
    assert words == read and place in GROUPS


def test_what_the_model_calls_a_fact_is_not_what_a_person_reads() -> None:
    of_the_model = {"count", "rate", "longest", "depth", "none", "any", "per", "recurs", "ends", "of", "has"}
    for name in DENSE_NAMES:
        group, _, what = name.partition(": ")
        told = [reasons.told("fact", f"{group}: {how}{what}") for how in ("", "little: ", "not: ")]
        assert {place for place, _ in told} <= GROUPS
        words = [text for _, text in told]
        assert words[0] not in words[1:] or name == "links: none", name
        for text in words:
            first = text.removeprefix("no ").removeprefix("not ").removeprefix("less ").removeprefix("fewer ")
            assert first.split()[0] not in of_the_model and "TLD" not in text, text
            assert "words of talk" not in text


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("fact", "trick zero-width", ("trick", "invisible characters in words")),
        ("fact", "words 5", ("wording", "16 to 31 words")),
        ("fact", "words 0", ("wording", "no word")),
        ("fact", "links 1", ("links", "one link")),
        ("fact", "tag br 4", ("HTML", "<br> 8 to 15 times")),
        ("fact", "tag html 1", ("HTML", "<html> once")),
        ("fact", "attached .pdf", ("parts", "a .pdf file attached")),
        ("link", "link: text-differs", ("links", "leads elsewhere than it says")),
        ("link", "link to evil.example", ("links", "evil.example")),
        ("link", "offer", ("links", "offer")),
        ("sender", "dkim none", ("header", "DKIM: none")),
        ("sender", "from domain example.org", ("header", "sender at example.org")),
        ("sender", "from anna@example.org", ("header", "sender anna@example.org")),
        ("sender", "proven example.org", ("header", "example.org, vouched for by your server")),
        ("sender", "hops 8+", ("header", "8 or more servers on its way")),
        ("sender", "hops 1", ("header", "one server on its way")),
        ("sender", "recipients 0", ("header", "no recipient")),
        ("sender", "order to subject", ("header", "field subject after to")),
        ("word", "lottery: win", ("words", "lottery: win")),
        ("copy", "Nearly the same as a mail you said is good", ("copy", "Nearly the same as a mail you said is good")),
    ],
)  # fmt: skip
def test_what_was_learned_by_name(kind: str, text: str, told: tuple[str, str]) -> None:
    assert reasons.told(kind, text) == told


def test_no_name_of_the_personal_part_is_left_as_it_is() -> None:
    """Of real mail, every token but words has words of its own: a new one would be shown as the model writes it."""
    raw: set[tuple[str, str]] = set()
    for file in sorted((Path(reasons.__file__).parent / "demo/mail").glob("*/*.eml"))[::2]:
        named = vectorise(file.read_bytes()).named(frozenset({"fact", "sender", "link"}))
        for tokens in named.personal.values():
            raw |= set(tokens)
    assert len(raw) > 400
    assert {
        pair for pair in raw if reasons.told(*pair)[1] == pair[1] and not pair[1].startswith("to ")
    } == set()


@pytest.mark.parametrize(
    ("probability", "told"),
    [
        (0.0, "0 %"),
        (0.00001, "< 0.1 %"),
        (0.004, "0.4 %"),
        (0.25, "25 %"),
        (0.982, "98.2 %"),
        (0.97, "97 %"),
        (0.9912, "99.12 %"),
        (0.99987, "99.987 %"),
        (0.9999999, "99.999 %"),
        (1.0, "100 %"),
    ],
)
def test_a_likelihood_is_never_rounded_to_certainty(probability: float, told: str) -> None:
    assert reasons.likelihood(probability) == told
