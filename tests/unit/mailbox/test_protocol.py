"""What comes over the wire, piece by piece."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient.response_parser import parse_fetch_response

from spamd.errors import MailboxError
from spamd.mailbox.border import border, refused
from spamd.mailbox.protocol import (
    Literal,
    Reply,
    Response,
    Source,
    _plain_attributes,
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


NAMES = st.sampled_from(
    [
        b"FLAGS",
        b"Uid",
        b"RFC822.SIZE",
        b"INTERNALDATE",
        b"X-GUID",
        b"EMAILID",
        b"MODSEQ",
        b"BODY",
        b"ENVELOPE",
        b"BODY[]",
        b"BODY[]<0>",
        b"BODY[HEADER.FIELDS (MESSAGE-ID)]",
        b'BODY[HEADER.FIELDS ("X")]',
        b"X-GM-LABELS",
    ]
)
WORDS = st.sampled_from(
    [b"1", b"0", b"007", b"NIL", b"nil", b"\\Seen", b"$Junk", b"a,S=1", b"*", b"%", b"a]b", b"\xfc"]
)
QUOTED = st.sampled_from(
    [
        b"29-Nov-2026 22:21:44 +0100",
        b" 9-Jan-1999 00:00:00 -1130",
        b"29-Nov-2026 22:21:44 -0000",
        b"31-Feb-2026 22:21:44 +0000",
        b"1-Jan-99 1:2:3 GMT",
        b"",
        b"NIL",
        b"12",
        b"a b)",
        b"\xfc",
        b'a\\"b',
    ]
)
VALUES = st.one_of(
    WORDS,
    st.builds(lambda text: b'"' + text + b'"', QUOTED),
    st.builds(lambda words: b"(" + b" ".join(words) + b")", st.lists(WORDS | st.just(b"(a)"), max_size=3)),
    st.binary(max_size=6),
    st.builds(lambda text: (b"{%d}" % len(text), text), st.binary(max_size=6)),
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from([b"(", b"( ", b"", b"(("]),
    st.binary(max_size=2),
)
def test_fetch_is_read_as_imapclient_reads_it(items, opening, tail):
    """What is read without it is the same, to the last key."""
    sources: list[Source] = []
    line = opening + b"UID 9"
    for name, value in items:
        line += b" " + name + b" "
        if isinstance(value, bytes):
            line += value
        else:
            sources.append((line + value[0], value[1]))
            line = b""
    response = fetch(*sources, line + b")" + tail)
    ours = _plain_attributes(response)
    if ours is not None:
        numbered = [(b"3 " + line, literal) for line, literal in sources[:1]] + sources[1:]
        whole = [*numbered, line + b")" + tail] if sources else [b"3 " + line + b")" + tail]
        assert dict(parse_fetch_response(whole, False, False)[3]) == ours


@pytest.mark.parametrize(
    "sources",
    [
        [b"(UID 9 FLAGS () MODSEQ (22))"],
        [
            b'(FLAGS (\\Seen $Junk) UID 9 INTERNALDATE "29-Nov-2026 22:21:44 +0000" EMAILID (M1) RFC822.SIZE 5)'
        ],
        [(b"(UID 9 X-GUID 17.M8P1.vm,S=1 BODY[HEADER.FIELDS (MESSAGE-ID)] {2}", b"\r\n"), b")"],
        [(b"(BODY[]<0> {1}", b"a"), (b" UID 9 BODY[HEADER]<0> {1}", b"b"), b" FLAGS ($a))"],
    ],
)
def test_what_servers_usually_say_needs_no_imapclient(sources):
    found = _plain_attributes(fetch(*sources))
    assert found is not None
    assert found[b"UID"] == 9


def test_a_long_list_without_end_takes_no_time():
    assert _plain_attributes(fetch(b"(UID 9 FLAGS (" + b"a" * 100_000)) is None
    assert _plain_attributes(fetch(b"(UID 9 FLAGS (" + b"a " * 50_000)) is None


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
