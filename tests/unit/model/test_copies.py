"""Near-copies of a corrected mail are known; good mail is not taken for one."""

from __future__ import annotations

from spamd.domain import Label
from spamd.message.vector import vectorise
from spamd.model.copies import CopyMemory
from tests.unit.model.made import MODERN_HAM, flood, mail


def test_a_flood_is_known_after_one_correction() -> None:
    memory = CopyMemory()
    memory.remember("first", vectorise(flood(0)), Label.SPAM, 1.0)
    assert all(memory.copy_of(vectorise(flood(seed))) is Label.SPAM for seed in range(1, 60))


def test_good_mail_is_no_copy_of_it() -> None:
    memory = CopyMemory()
    for seed in range(3):
        memory.remember(str(seed), vectorise(flood(seed)), Label.SPAM, float(seed))
    assert len(MODERN_HAM) >= 80
    assert not [path.name for path in MODERN_HAM if memory.match(vectorise(path.read_bytes()))]


def test_modern_good_mails_are_no_copies_of_each_other() -> None:
    memory = CopyMemory()
    taken = []
    for path in MODERN_HAM:
        features = vectorise(path.read_bytes())
        if match := memory.match(features):
            taken.append((path.name, match.key))
        memory.remember(path.name, features, Label.SPAM, 1.0)
    assert taken == []


def test_the_newer_word_wins() -> None:
    memory = CopyMemory()
    memory.remember("one", vectorise(flood(1)), Label.SPAM, 1.0)
    memory.remember("two", vectorise(flood(2)), Label.HAM, 2.0)
    assert memory.copy_of(vectorise(flood(3))) is Label.HAM
    memory.remember("three", vectorise(flood(4)), Label.SPAM, 3.0)
    assert memory.copy_of(vectorise(flood(3))) is Label.SPAM
    assert memory.forget("three")
    assert memory.copy_of(vectorise(flood(3))) is Label.HAM


def test_a_full_memory_forgets_the_oldest() -> None:
    memory = CopyMemory(capacity=2)
    for number, path in enumerate(MODERN_HAM[:3]):
        memory.remember(str(number), vectorise(path.read_bytes()), Label.SPAM, float(number))
    assert len(memory) == 2
    assert memory.match(vectorise(MODERN_HAM[0].read_bytes())) is None
    assert memory.match(vectorise(MODERN_HAM[2].read_bytes())) is not None


def test_a_mail_of_a_few_words_has_no_copies() -> None:
    memory = CopyMemory()
    memory.remember("thanks", vectorise(mail("Thanks", "See you")), Label.SPAM, 1.0)
    assert memory.copy_of(vectorise(mail("Thanks", "See you"))) is None
