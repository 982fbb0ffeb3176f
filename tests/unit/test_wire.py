"""Domain values as JSON and back."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamd import domain
from spamd.domain import Account, AccountName, Judgement, Label, ModelCard, MoveRecord, Score
from spamd.errors import RequestError
from spamd.wire import from_json, to_json

WORDS = [
    value
    for _, value in inspect.getmembers(domain, inspect.isclass)
    if dataclasses.is_dataclass(value) and value.__module__ == domain.__name__
]


FINITE = st.floats(allow_nan=False, allow_infinity=False)


def values(cls):
    """Values of a domain class with finite numbers: JSON has no others."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: of_kind(hints[field.name]) for field in dataclasses.fields(cls)})


def of_kind(hint):
    if isinstance(hint, typing.NewType):
        return of_kind(hint.__supertype__)
    if hint is float:
        return FINITE
    if dataclasses.is_dataclass(hint):
        return values(hint)
    inner = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return st.one_of([of_kind(one) for one in inner])
    if typing.get_origin(hint) is dict:
        return st.dictionaries(of_kind(inner[0]), of_kind(inner[1]), max_size=3)
    if typing.get_origin(hint) is tuple and float in inner:
        return st.tuples(*[of_kind(one) for one in inner])
    return st.from_type(hint)


@pytest.mark.parametrize("cls", WORDS, ids=lambda cls: cls.__name__)
def test_every_domain_value_travels(cls):
    @settings(max_examples=20, deadline=None)
    @given(values(cls))
    def check(value):
        text = json.dumps(to_json(value), allow_nan=False)
        assert from_json(cls, json.loads(text)) == value

    check()


SCORE = {"probability": 0.5, "logit": 0, "base_logit": 1.5, "model_id": "base-1"}


def test_defaults_may_be_left_out_and_whole_numbers_are_numbers():
    score = from_json(Score, SCORE)
    assert score == Score(0.5, 0.0, 1.5, "base-1")
    assert isinstance(score.logit, float)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"probability": "0.5"}, "At 'probability': expected a number, got '0.5'."),
        ({"probability": True}, "At 'probability': expected a number"),
        ({"probability": float("nan")}, "At 'probability': expected a number"),
        ({"probability": 10**400}, "At 'probability': expected a number"),
        ({"copy_of": "eggs"}, "At 'copy_of': expected one of 'ham', 'spam', got 'eggs'."),
        ({"copy_of": []}, "At 'copy_of': expected one of"),
        ({"model_id": None}, "At 'model_id': expected text, got None."),
        ({"model_id": "x" * 1000, "logit": {}}, "At 'logit': expected a number, got {}."),
        ({"colour": 1}, "At 'colour': there is no such field."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, said):
    with pytest.raises(RequestError) as wrong:
        from_json(Score, SCORE | change)
    assert str(wrong.value).startswith(said)
    assert len(wrong.value.title) < 200


def test_the_place_of_something_deep():
    judgement = to_json(
        Judgement(
            0,
            AccountName("a"),
            domain.Identity("x"),
            1.0,
            Score(0.5, 0.0, 0.0, domain.ModelId("m")),
            domain.Decision(domain.Verdict.KEEP, False, "score", ""),
            link_hosts=("a", "b"),
        )
    )
    judgement["score"]["logit"] = "much"
    with pytest.raises(RequestError, match=r"At 'score\.logit'"):
        from_json(Judgement, judgement)
    judgement["score"]["logit"] = 1
    judgement["link_hosts"] = ["a", 7]
    with pytest.raises(RequestError, match=r"At 'link_hosts\[1\]': expected text, got 7"):
        from_json(Judgement, judgement)
    judgement["link_hosts"] = "ab"
    with pytest.raises(RequestError, match="At 'link_hosts': expected a list"):
        from_json(Judgement, judgement)


def test_a_missing_field():
    with pytest.raises(RequestError, match="At 'logit': the field is missing"):
        from_json(Score, {"probability": 1})
    with pytest.raises(RequestError, match="expected an object"):
        from_json(MoveRecord, ["no"])


def test_a_newer_version_s_field_can_be_passed_over():
    assert from_json(Score, SCORE | {"colour": "red"}, ignore_unknown=True) == from_json(Score, SCORE)


def test_plain_kinds():
    assert from_json(tuple[AccountName, bytes], ["a", "YQ=="]) == ("a", b"a")
    assert from_json(dict[str, list[int]], {"a": [1]}) == {"a": [1]}
    assert from_json(frozenset[Label], ["ham"]) == {Label.HAM}
    assert from_json(Literal["a", 1], 1) == 1
    assert from_json(int | str | None, "x") == "x"
    assert to_json({Label.HAM: frozenset({"b", "a"}), "raw": b"a"}) == {"ham": ["a", "b"], "raw": "YQ=="}
    for cls, data in [
        (tuple[str, bytes], ["a"]),
        (bytes, "not base64!"),
        (Literal["a", 1], True),
        (int | str, 1.5),
        (type(None), 0),
        (dict[str, int], []),
        (int, True),
    ]:
        with pytest.raises(RequestError):
            from_json(cls, data)


def test_what_is_no_domain_value_is_our_own_fault():
    with pytest.raises(TypeError):
        to_json(object())
    with pytest.raises(RequestError):
        to_json(float("inf"))


def test_a_card_of_the_model():
    card = from_json(
        ModelCard,
        json.loads(
            '{"id": "base-1", "parent": null, "created_at": 1, "schema": "s", "sha256": "", "architecture": "a.v1",'
            ' "alpha": 1, "calibration": [1, 0.5]}'
        ),
    )
    assert card.calibration == (1.0, 0.5)
    assert from_json(Account, to_json(Account(AccountName("a")))) == Account(AccountName("a"))
