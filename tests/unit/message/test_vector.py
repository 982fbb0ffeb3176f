"""Bytes to features, and what is kept of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spamd.errors import SchemaMismatch
from spamd.message import vector

DATA = Path(__file__).parents[2] / "data"
MAILS = DATA / "modern_ham"
MAIL = b"""From: "Ann Miller" <ann@shop.example>
To: bob@home.example
Subject: =?utf-8?q?Angebot_f=C3=BCr_Bob?=
Date: Mon, 2 Nov 2026 10:00:00 +0100
Message-ID: <1@shop.example>
Content-Type: text/html; charset=utf-8

<p>Hello Bob, here is what you asked for: <b>v1agra</b> at <a href="https://pay.example.com/x?y=1">www.bank.example</a>
<span style="display:none">secret words nobody sees</span></p>
"""


def test_the_same_bytes_give_the_same_features_and_line_ends_do_not_matter() -> None:
    one, two = vector.vectorise(MAIL), vector.vectorise(MAIL.replace(b"\n", b"\r\n"))
    assert np.array_equal(one.base_ids, two.base_ids)
    assert np.array_equal(one.personal_ids, two.personal_ids)
    assert np.array_equal(one.dense, two.dense, equal_nan=True)
    assert vector.similarity(one.fingerprint, two.fingerprint) == pytest.approx(1.0)


def test_mails_read_in_several_threads_at_once_give_the_numbers_each_gives_alone() -> None:
    mails = [file.read_bytes() for file in sorted(MAILS.glob("*.eml"))[:40]]
    alone = [vector.pack(vector.vectorise(raw)) for raw in mails]
    with ThreadPoolExecutor(4) as several:
        together = list(several.map(lambda raw: vector.pack(vector.vectorise(raw)), mails * 3))
    assert together == alone * 3


def test_ids_are_sorted_and_each_there_once_and_values_are_finite() -> None:
    found = vector.vectorise(MAIL)
    for ids in (found.base_ids, found.personal_ids):
        assert ids.dtype == np.int32
        assert (np.diff(ids) > 0).all()
        assert 0 < ids.size <= vector.LENGTH
    assert found.dense.shape == (vector.DENSE,)
    assert np.isfinite(found.dense[: vector.DENSE_BODY]).all()


def test_header_facts_are_missing_where_there_is_no_header() -> None:
    found = vector.vectorise(b"\nOnly a text, no header.\n")
    assert np.isnan(found.dense[vector.DENSE_BODY :]).all()
    assert np.isfinite(found.dense[: vector.DENSE_BODY]).all()


def test_packing_keeps_every_bit() -> None:
    found = vector.vectorise(MAIL)
    packed = vector.pack(found)
    again = vector.unpack(packed)
    assert np.array_equal(again.base_ids, found.base_ids)
    assert np.array_equal(again.personal_ids, found.personal_ids)
    assert np.array_equal(again.dense, found.dense, equal_nan=True)
    assert np.array_equal(again.fingerprint, found.fingerprint)
    assert vector.pack(again) == packed
    assert vector.schema_of(packed) == vector.SCHEMA


@pytest.mark.parametrize("cut", [0, 5, 12, 30, -1])
def test_damaged_vectors_are_refused(cut: int) -> None:
    packed = vector.pack(vector.vectorise(MAIL))
    with pytest.raises(SchemaMismatch):
        vector.unpack(packed[:cut])


def test_a_vector_of_another_recipe_is_refused() -> None:
    packed = bytearray(vector.pack(vector.vectorise(MAIL)))
    packed[4] ^= 1
    with pytest.raises(SchemaMismatch):
        vector.unpack(bytes(packed))


def test_a_vector_of_an_earlier_reading_is_used_as_it_is() -> None:
    found = vector.vectorise(MAIL)
    for schema in vector.READABLE:
        packed = bytearray(vector.pack(found))
        packed[3:11] = bytes.fromhex(schema)
        assert vector.schema_of(bytes(packed)) == schema
        assert np.array_equal(vector.unpack(bytes(packed)).personal_ids, found.personal_ids)
    assert len(vector.READABLE) == vector.READING
    assert vector.SCHEMA in vector.READABLE


def test_what_earlier_readings_stored_says_nearly_the_same_as_what_is_read_today() -> None:
    """The vectors beside the mails were packed by the first reading. If this fails, the numbers mean something else
    now: that is no new reading but another recipe."""
    for file in sorted((DATA / "reading_1").glob("*.vector")):
        stored = vector.unpack(file.read_bytes())
        mail = next(MAILS.rglob(f"{file.stem}.eml"))
        found = vector.vectorise(mail.read_bytes())
        for one, other in (
            (stored.base_ids, found.base_ids),
            (stored.personal_ids, found.personal_ids),
        ):
            assert np.intersect1d(one, other).size > 0.9 * max(one.size, other.size), file.stem
        assert vector.similarity(stored.fingerprint, found.fingerprint) > 0.8, file.stem
        known = ~np.isnan(stored.dense)
        assert np.array_equal(known, ~np.isnan(found.dense))
        assert (np.abs(stored.dense - found.dense)[known] < 0.05).mean() > 0.9, file.stem


def test_every_bucket_has_a_name() -> None:
    found = vector.vectorise(MAIL)
    names = found.named()
    assert set(names.base) == set(found.base_ids.tolist())
    assert set(names.personal) == set(found.personal_ids.tolist())
    said = {pair for pairs in (*names.base.values(), *names.personal.values()) for pair in pairs}
    assert ("word", "viagra") in said
    assert ("link", "link to pay.example.com") in said
    assert ("fact", "trick hidden-text") in said
    assert len(names.dense) == vector.DENSE
    words = found.named(frozenset({"word"}))
    for side, some in ((names.base, words.base), (names.personal, words.personal)):
        alone = {bucket: tuple(pair for pair in pairs if pair[0] == "word") for bucket, pairs in side.items()}
        assert some == {bucket: pairs for bucket, pairs in alone.items() if pairs}


def test_what_is_shown_is_harmless() -> None:
    found = vector.vectorise(MAIL)
    assert found.subject == "Angebot für Bob"
    assert (found.sender_name, found.sender, found.sender_domain) == (
        "Ann Miller",
        "ann@shop.example",
        "shop.example",
    )
    assert found.snippet.startswith("Hello Bob, here is what you asked for: v1agra at www.bank.example")
    assert "secret" not in found.snippet
    assert found.link_hosts == ("example.com",)
