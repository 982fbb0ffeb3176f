"""What comes over the wire, piece by piece."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd.errors import MailboxError
from spamd.mailbox.border import border, refused
from spamd.mailbox.protocol import (
    Literal,
    Reply,
    Response,
    below,
    claimed_uid,
    copyuid,
    expand,
    fetch_attributes,
    literal_size,
    number_set,
    quote,
    ranges,
    response_code,
    search_result,
    split_response,
)
from spamd.mailbox.session import fingerprint, message_id


@given(st.sets(st.integers(1, 4_000_000_000), max_size=50))
def test_number_sets_come_back(numbers):
    assert set(expand(number_set(numbers))) == numbers if numbers else number_set(numbers) == b""


def test_number_set_makes_runs():
    assert number_set([7, 1, 2, 3, 3, 9]) == b"1:3,7,9"


@pytest.mark.parametrize("bad", [b"", b"1:", b"a", b"1:99999999999", b"*"])
def test_odd_sets_are_refused(bad):
    with pytest.raises(ValueError):
        expand(bad)


def reply(*untagged: bytes, text: bytes = b"done", status: bytes = b"OK") -> Reply:
    responses = []
    for line in untagged:
        number, name, rest = split_response(line)
        responses.append(Response(name, number, (rest,)))
    return Reply(status, text, responses)


@pytest.mark.parametrize(
    ("answer", "pairs"),
    [
        # Dovecot and Cyrus, untagged; holes in the source count pairwise
        (
            reply(b"OK [COPYUID 1795174350 41000:41001,41009 100001:100003] Moved UIDs."),
            ((41000, 100001), (41001, 100002), (41009, 100003)),
        ),
        # Gmail, in the tagged line
        (reply(text=b"[COPYUID 1 5 9] (Success)"), ((5, 9),)),
        # one per message, in both places
        (reply(b"OK [COPYUID 1 5 9] x", text=b"[COPYUID 1 6 10] y"), ((5, 9), (6, 10))),
    ],
)
def test_copyuid(answer, pairs):
    found = copyuid(answer)
    assert found is not None
    assert found.pairs == pairs


@pytest.mark.parametrize(
    "answer",
    [
        reply(),
        reply(text=b"[COPYUID 1 5 9:10] unequal"),
        reply(text=b"[COPYUID 1 5] short"),
        reply(text=b"[COPYUID a b c]"),
    ],
)
def test_no_copyuid_is_no_proof(answer):
    assert copyuid(answer) is None


def test_search_results():
    assert search_result(reply(b"SEARCH 5 3 9")) == [3, 5, 9]
    assert search_result(reply(b"SEARCH")) == []
    assert search_result(reply(b"SEARCH 2 3 (MODSEQ 917162500)")) == [2, 3]
    assert search_result(reply(b'ESEARCH (TAG "A1") UID ALL 1:3,7')) == [1, 2, 3, 7]
    assert search_result(reply(b'ESEARCH (TAG "A1") UID')) == []


def fetch(*sources) -> Response:
    return Response(b"FETCH", 3, sources)


def test_fetch_attributes():
    row = fetch_attributes(fetch((b"(UID 9 BODY[]<0> {5}", b"hello"), b" FLAGS (\\Seen 123 NIL))"))
    assert row is not None
    assert row[b"UID"] == 9
    assert row[b"BODY[]<0>"] == b"hello"


def test_fetch_of_literal8_and_binary():
    row = fetch_attributes(fetch((b"(UID 9 BINARY[] ~{5}", b"h\0llo"), b")"))
    assert row is not None
    assert row[b"BINARY[]"] == b"h\0llo"


def test_a_fetch_without_uid_is_of_somebody_else():
    assert fetch_attributes(fetch(b"(FLAGS ($Junk))")) is None


def test_the_uid_of_a_malformed_fetch():
    assert claimed_uid(fetch(b"(FLAGS (\\Seen UID 17 RFC822.SIZE")) == 17
    assert claimed_uid(fetch(b"(FLAGS (")) is None


def test_literals_and_codes():
    assert literal_size(b"(BODY[] {12}") == 12
    assert literal_size(b"(BODY[] ~{12}") == 12
    assert literal_size(b"{12} more") is None
    code = response_code(b"[PERMANENTFLAGS (\\Seen \\*)] ok")
    assert code is not None
    assert (code.name, code.arguments) == (b"PERMANENTFLAGS", b"(\\Seen \\*)")
    assert response_code(b"no code") is None


@pytest.mark.parametrize(
    ("value", "sent"),
    [(b"INBOX", b'"INBOX"'), (b'a "b" \\c', b'"a \\"b\\" \\\\c"'), (b"", b'""')],
)
def test_quoting(value, sent):
    assert quote(value) == sent


@pytest.mark.parametrize("value", [b"\xc3\xbc", b"a\r\nb", b"a\0b", b"line\n"])
def test_what_cannot_be_quoted_travels_as_literal(value):
    """Nobody gets a command of their own into the stream by a clever folder name."""
    assert isinstance(quote(value), Literal)


LINES = st.lists(st.binary(max_size=60), max_size=6)


@given(LINES, st.binary(max_size=60))
def test_nonsense_never_gets_out_as_a_foreign_error(lines, text):
    """Whatever a server sends: either it is understood, or it is one of our errors."""
    nonsense = reply(*lines, text=text, status=b"NO")
    copyuid(nonsense)
    assert isinstance(refused(nonsense, "UID MOVE", host="h", what="Junk"), MailboxError)
    with contextlib.suppress(MailboxError), border("h"):
        search_result(nonsense)
    for response in nonsense.responses:
        claimed_uid(response)
        with contextlib.suppress(MailboxError), border("h"):
            fetch_attributes(Response(b"FETCH", 1, response.sources))


@given(st.binary(max_size=300))
def test_any_header_has_a_message_id_and_a_fingerprint(header):
    assert isinstance(message_id(header), str)
    assert fingerprint(header) == fingerprint(header.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"Message-ID: <a@b>\r\n", "a@b"),
        (b"MESSAGE-id:\r\n\t<a@b>\r\n\r\n", "a@b"),
        (b"Message-Id: a@b\r\n", "a@b"),
        (b"X: 1\r\nMessage-ID: <first@b> <second@b>\r\n", "first@b"),
        (b"In-Reply-To: <other@b>\r\n", ""),
        (b"X-Message-ID: <other@b>\r\n", ""),
        (b"Message-ID:\r\nSubject: <no@b>\r\n", ""),
        (b"", ""),
    ],
)
def test_message_ids(header, found):
    assert message_id(header) == found


@pytest.mark.parametrize(
    ("numbers", "limit", "left"),
    [
        (b"1:*", 500, b"1:499"),
        (b"490:*", 500, b"490:499"),
        (b"*:1", 500, b""),  # never asked like that
        (b"500:*", 500, b""),
        (b"1:5,9,400:600,700", 500, b"1:5,9,400:499"),
        (b"600:400", 500, b"400:499"),
        (b"7", 7, b""),
        (b"7", 8, b"7"),
    ],
)
def test_what_is_left_below(numbers, limit, left):
    if numbers == b"*:1":
        with pytest.raises(ValueError, match="invalid literal"):
            below(numbers, limit)
        return
    assert below(numbers, limit) == left


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(2, 70))
def test_below_keeps_what_is_below(numbers, limit):
    kept = below(number_set(numbers), limit)
    assert (expand(kept) if kept else []) == sorted({number for number in numbers if number < limit})


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=8))
def test_ranges_say_what_expand_says(pairs):
    text = b",".join(b"%d:%d" % pair for pair in pairs)
    assert {n for start, end in ranges(text) for n in range(start, end + 1)} == set(expand(text))
