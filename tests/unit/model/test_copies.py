"""Near-copies of a corrected mail are known; good mail is not taken for one."""

from __future__ import annotations

import random

import pytest

from spamd.domain import Label
from spamd.message.vector import vectorise
from spamd.model.copies import CopyMemory, Match
from tests.unit.model.made import MODERN_HAM, flood, mail


def test_a_flood_is_known_after_one_correction() -> None:
    memory = CopyMemory()
    memory.remember("first", vectorise(flood(0)), Label.SPAM, 1.0)
    assert all(memory.copy_of(vectorise(flood(seed))) is Label.SPAM for seed in range(1, 60))


FLOODS = {
    "Ihr Paket {n} wartet": "Sehr geehrte(r) {name},\n\nIhr Paket {n} konnte nicht zugestellt werden, weil die Zollgebühr noch "
    "offen ist. Bitte bestätigen Sie die Zahlung innerhalb von 24 Stunden, sonst geht die Sendung zurück:\n{url}\n\n"
    "Vielen Dank für Ihr Verständnis\nIhr Zustellteam",
    "Votre remboursement {n}": "Bonjour {name},\n\nvotre remboursement est disponible. Pour le recevoir, veuillez vérifier vos "
    "coordonnées bancaires avant demain :\n{url}\n\nNuméro de dossier {n}\nLe service des impôts",
    "账户异常提醒 {n}": "尊敬的{name}:\n\n您的账户{n}出现异常登录,为了您的资金安全,我们已暂时限制使用。请在二十四小时内点击"
    "以下链接确认您的身份信息,否则账户将被永久冻结:\n{url}\n\n客户服务中心",
}


@pytest.mark.parametrize("subject", FLOODS)
def test_floods_in_other_languages(subject: str) -> None:
    def varied(seed: int) -> bytes:
        rng = random.Random(seed)
        host = "".join(rng.choices("abcdefghijk", k=9))
        told = {
            "n": rng.randrange(10**7),
            "name": rng.choice(["Anna", "Émile", "张伟", "Dieter"]),
            "url": f"https://{host}.example/{rng.randrange(10**6)}",
        }
        return mail(subject.format(**told), FLOODS[subject].format(**told), sender=f"x <info@{host}.example>")

    memory = CopyMemory()
    for seed in range(3):
        memory.remember(str(seed), vectorise(varied(seed)), Label.SPAM, float(seed))
    caught = [memory.copy_of(vectorise(varied(seed))) is Label.SPAM for seed in range(3, 43)]
    assert sum(caught) >= 38


def test_short_replies_are_no_copies_of_each_other() -> None:
    memory = CopyMemory()
    said = [
        "Thanks, that works for me. See you on Tuesday at the station.",
        "Thanks, I cannot come on Tuesday. Shall we say Thursday at noon?",
        "No problem, take your time with the report. Best, Anna",
        "Danke, ich schaue es mir morgen an. Viele Grüße, Anna",
    ]
    taken = []
    for number, text in enumerate(said):
        features = vectorise(mail("Re: meeting", text))
        taken.append(memory.match(features))
        memory.remember(str(number), features, Label.SPAM, float(number))
    assert taken == [None] * len(said)


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


def test_what_is_no_copy_is_asked_from_the_newest_on_until_one_is() -> None:
    memory = CopyMemory()
    for number in range(20):
        memory.remember(f"mail {number}", vectorise(flood(number)), Label.SPAM, float(number))
    asked: list[float] = []

    def no_copy(match: Match) -> bool:
        asked.append(match.at)
        return match.at > 16

    found = memory.match(vectorise(flood(30)), no_copy)
    assert found is not None and found.at == 16
    assert asked == [19, 18, 17, 16]


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
