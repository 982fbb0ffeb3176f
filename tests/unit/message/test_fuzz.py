"""Whatever the bytes: no exception, finite numbers, bounded vectors, the same answer twice.

Deterministic (derandomised). What it finds becomes a mail in tests/data/tricks.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spamd.message import links, parsing, text, vector

MAILS = sorted((Path(__file__).parents[2] / "data" / "tricks").glob("*.eml"))
FUZZ = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

NAMES = st.sampled_from(
    [b"From", b"To", b"Subject", b"Content-Type", b"Content-Transfer-Encoding", b"Content-Disposition", b"Received",
     b"Authentication-Results", b"List-Id", b"Reply-To", b"Date", b"Message-ID", b"X-Spam-Flag", b"X\x80", b""]
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=\"b\"", b"message/rfc822", b"text/html; charset=utf-16",
         b"text/plain; charset=utf-7", b"text/html; charset*=utf-8''%FF%FE", b"base64", b"quoted-printable", b"=?utf-8?q?=?= =?x?b?AA?=",
         b"<a@b.example>", b"\"x <y>\" <z@q.example>", b"by x.example from y", b"attachment; filename*0*=a'b'c%; filename*1=d"]
    ),
)  # fmt: skip
PIECES = st.sampled_from(
    [b"--b\n", b"--b--\n", b"\n\n", b"<div style='display:none'>", b"</div>", b"<font color=white size=0>", b"&#86;&#105;&#97;&#103;",
     b"<a href='http://1.2.3.4:99/%41?u=http://x'>www.y.com</a>", b"f u n s i t e . c o m", b"v1agra", b"\xe2\x80\x8b\xe2\x80\xae",
     b"<style>.a{display:none}@media x{{}", b"<!--", b"-->", b"=C3=", b"begin 644 x\nM", b"\x00\xff\xfe", "\u0440\u0430ypal".encode(), b"]]>",
     b"<img src=data:,x background=//h", b"www.", b"http://[", b"xn--\xff.com", b"\x1b$B", b"\r", b"Content-Type: text/html\n\n"]
)  # fmt: skip


@st.composite
def mails(draw: st.DrawFn) -> bytes:
    head = b"".join(
        name + b": " + value + b"\n" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=8))
    )
    body = b"".join(draw(st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=25)))
    return head + b"\n" + body


def check(raw: bytes) -> None:
    found = vector.vectorise(raw)
    assert np.isfinite(found.dense[: vector.DENSE_BODY]).all()
    assert not np.isinf(found.dense).any()
    for ids in (found.base_ids, found.personal_ids):
        assert ids.size <= vector.LENGTH
        assert (np.diff(ids) > 0).all()
    again = vector.unpack(vector.pack(found))
    assert np.array_equal(again.personal_ids, found.personal_ids)
    names = found.named()
    assert set(names.base) == set(found.base_ids.tolist())
    for shown in (found.subject, found.sender, found.sender_name, found.snippet, *found.link_hosts):
        assert shown.isprintable() or "\ufffd" in shown
        shown.encode("utf-8")


@FUZZ
@given(mails())
def test_built_mail(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(st.text(max_size=200), st.text(max_size=60))
def test_any_link(url: str, shown: str) -> None:
    for kind in ("a", "text", "img"):
        links.link(url, shown, kind)


@FUZZ
@given(st.text(max_size=300))
def test_any_text_is_made_harmless(said: str) -> None:
    shown = text.harmless(said)
    assert not any(ord(character) < 32 or 0x202A <= ord(character) <= 0x202E for character in shown)
    shown.encode("utf-8")
    assert text.split_words("") == []


@FUZZ
@given(st.binary(max_size=200))
def test_any_header(value: bytes) -> None:
    parsing.decode_header(value).encode("utf-8")
    parsing.address(parsing.decode_header(value))
    parsing.content_type(parsing.decode_header(value))


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_damaged_mail(path: Path) -> None:
    """Each mail with bytes flipped, cut out, doubled and cut off."""
    raw = path.read_bytes()
    rng = random.Random(path.stem)
    for _ in range(12):
        damaged = bytearray(raw[:4_000])
        for _ in range(rng.randrange(1, 12)):
            at = rng.randrange(len(damaged) + 1)
            match rng.randrange(4):
                case 0:
                    damaged[at : at + 1] = rng.randbytes(1)
                case 1:
                    del damaged[at : at + rng.randrange(1, 40)]
                case 2:
                    damaged[at:at] = damaged[max(0, at - rng.randrange(1, 60)) : at]
                case _:
                    del damaged[at + 200 :]
        check(bytes(damaged))
