"""COMPRESS=DEFLATE: only for bulk, the same answers as without, and no way to hurt us with it."""

from __future__ import annotations

import dataclasses
import random
import zlib
from pathlib import Path

import pytest

from spamd.domain import FolderName, TlsMode, Uid
from spamd.errors import ConnectionLost, ProtocolFault
from spamd.mailbox import connection as connections
from spamd.mailbox.connection import connect
from spamd.mailbox.deflate import Deflate
from spamd.mailbox.idle import open_watch
from spamd.mailbox.session import open_session
from tests.servers.mailhost import PASSWORD, mail, nothing_lost
from tests.servers.scripted import CLOSE, answer, expect, sign_in

INBOX = FolderName("INBOX")
OFFERED = "IMAP4rev1 IDLE COMPRESS=DEFLATE"


def packed(text: bytes, level: int = 6) -> bytes:
    """A whole deflate stream, as far as it goes."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)


def on_compressed(scripted_server, *said):
    """A connection to a server that, once compressed, says this as it is."""
    server = scripted_server([*sign_in(OFFERED), *answer("COMPRESS DEFLATE"), *said])
    connection = connect(server.account(), PASSWORD)
    assert connection.compress()
    return connection


# -- a real server


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.IMPLICIT])
def test_the_same_mail_in_fewer_bytes(dovecot, tls):
    host = dovecot(compress=True)
    user = host.new_user()
    dice = random.Random(5)
    words = ["order", "meeting", "invoice", "Grüße", "see you", "price", "photo", "weather"]
    host.append(user, *(mail(f"no {n}", " ".join(dice.choices(words, k=600))) for n in range(60)))
    plain, bulk = (open_session(host.account(user, tls=tls), PASSWORD) for _ in range(2))
    bulk.begin_bulk()
    assert bulk.connection.compressed
    assert not plain.connection.compressed
    with nothing_lost(host, user):
        seen = []
        for session in (plain, bulk):
            refs = [arrival.ref for arrival in session.arrivals(INBOX, Uid(1))]
            seen.append(list(session.fetch(refs)))
        assert seen[0] == seen[1]
        assert len(seen[0]) == 60
    assert bulk.bytes_received() < plain.bytes_received() / 2
    # and it goes on as any connection does: moves of others, folders, an end
    host.move(user, [1, 2], "INBOX", "Junk")
    assert [status.messages for status in bulk.statuses([INBOX, FolderName("Junk")])] == [58, 2]
    assert bulk.junk_folder() == "Junk"
    bulk.begin_bulk()  # again is nothing new
    for session in (plain, bulk):
        session.close()


def test_moves_on_a_compressed_connection(dovecot):
    from spamd.domain import UidValidity
    from spamd.mailbox.move_commands import ImapCommands
    from spamd.source import OpenFolder

    host = dovecot(compress=True)
    user = host.new_user()
    host.append(user, mail("one"), mail("two"))
    session = open_session(host.account(user), PASSWORD)
    session.begin_bulk()
    with nothing_lost(host, user):
        validity = UidValidity(session.status(INBOX).uid_validity)
        copied = ImapCommands(session).move(OpenFolder(INBOX, validity), [Uid(2)], FolderName("Junk"))
        assert dict(copied.uids) == {2: 1}
    session.close()


@pytest.mark.parametrize("pieces", [1, 7])
def test_in_small_pieces(dovecot, fault_proxy, pieces):
    host = dovecot(compress=True)
    user = host.new_user()
    host.append(user, *(mail(f"no {n}", "text " * 200) for n in range(20)))
    proxy = fault_proxy(host.port, raw=True)
    session = open_session(dataclasses.replace(host.account(user), port=proxy.port), PASSWORD)
    session.begin_bulk()
    proxy.fragment = pieces
    refs = [arrival.ref for arrival in session.arrivals(INBOX, Uid(1))]
    assert len(list(session.fetch(refs))) == 20
    session.close()


def test_cut_off_while_compressed(dovecot, fault_proxy):
    host = dovecot(compress=True)
    proxy = fault_proxy(host.port, raw=True)
    session = open_session(dataclasses.replace(host.account(host.new_user()), port=proxy.port), PASSWORD)
    session.begin_bulk()
    session.status(INBOX)
    proxy.cut_all()
    with pytest.raises(ConnectionLost):
        session.status(INBOX)
    session.close()


def test_who_waits_does_not_compress(dovecot):
    host = dovecot(compress=True)
    watch = open_watch(host.account(host.new_user()), PASSWORD, INBOX)
    watch.wait(0.05)
    assert watch.connection.has("COMPRESS=DEFLATE")
    assert not watch.connection.compressed
    watch.close()


def test_not_offered(dovecot):
    session = open_session(dovecot().account("u"), PASSWORD)
    session.begin_bulk()
    assert not session.connection.compressed
    assert session.status(INBOX).folder == INBOX
    session.close()


# -- servers that refuse, err or attack


@pytest.mark.parametrize("said", ["NO [COMPRESSIONACTIVE] TLS does it", "BAD what?"])
def test_refused(scripted_server, said):
    server = scripted_server([*sign_in(OFFERED), *answer("COMPRESS DEFLATE", status=said), *answer("NOOP")])
    with connect(server.account(), PASSWORD) as connection:
        assert not connection.compress()
        connection.noop()


def test_news_right_behind_the_consent(scripted_server):
    """What was read ahead with the OK is packed already."""
    step = b"TAG OK go\r\n" + packed(b"* 4 EXISTS\r\n")
    server = scripted_server([*sign_in(OFFERED), expect("COMPRESS"), step])
    connection = connect(server.account(), PASSWORD)
    assert connection.compress()
    assert connection.read_line() == b"* 4 EXISTS"
    connection.drop()


def test_what_cannot_be_unpacked_ends_the_connection_and_the_compression(scripted_server):
    server = scripted_server(
        [*sign_in(OFFERED), *answer("COMPRESS"), b"\xff\xfe this is no deflate \xff"],
        [*sign_in(OFFERED), *answer("NOOP")],
    )
    connection = connect(server.account(), PASSWORD)
    with pytest.raises(ProtocolFault, match="cannot be unpacked"):
        connection.compress()  # perhaps already here: it may come with the consent
        connection.noop()
    assert connection.broken
    with connect(server.account(), PASSWORD) as again:
        assert not again.compress(), "the same server is not trusted with it twice"
        again.noop()


@pytest.mark.parametrize("tail", [b"", b"after the end"])
def test_the_end_of_the_stream(scripted_server, tail):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    last = packer.compress(b"* 4 EXISTS\r\n") + packer.flush(zlib.Z_FINISH)
    connection = on_compressed(scripted_server, last + tail, CLOSE)
    assert connection.read_line() == b"* 4 EXISTS"
    with pytest.raises(ConnectionLost):
        connection.read_line()
    connection.drop()


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096 / 1e6


def test_a_bomb_of_one_line(scripted_server, monkeypatch):
    """128 MB of zeros in 130 kB: the limit for lines ends it, and memory stays near that limit."""
    monkeypatch.setattr(connections, "LINE_LIMIT", 4 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = b"0" * (1 << 20)
    bomb = b"".join(packer.compress(block) for _ in range(128)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 200_000
    before = rss_mb()
    connection = on_compressed(scripted_server, bomb)
    with pytest.raises(ProtocolFault, match="a line of more than 4 MB"):
        connection.noop()
    assert rss_mb() - before < 40
    assert connection.broken


def test_a_bomb_of_many_lines(scripted_server, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_LIMIT", 4 << 20)
    bomb = packed(b"* OK still here\r\n" * 4_000_000)
    before = rss_mb()
    connection = on_compressed(scripted_server, bomb)
    with pytest.raises(ProtocolFault, match="an answer of more than 4 MB"):
        connection.noop()
    assert rss_mb() - before < 40
    assert connection.broken


def test_a_bomb_in_a_literal(scripted_server):
    connection = on_compressed(
        scripted_server, packed(b"* 1 FETCH (UID 1 BODY[] {9000000000}\r\n" + b"0" * (1 << 20))
    )
    with pytest.raises(ProtocolFault, match="announced 9000000000 bytes"):
        connection.noop()
    assert connection.broken


# -- the stream alone


def test_any_text_in_any_pieces():
    dice = random.Random(11)
    for _ in range(40):
        text = dice.randbytes(dice.randrange(1, 5000)) + b"a" * dice.randrange(100_000)
        stream, got, at = Deflate("here"), b"", 0
        data = packed(text)
        most = dice.choice([1, 7, 1000, 65536]) if len(text) < 3000 else dice.choice([1000, 65536])
        while at < len(data) or stream.waiting:
            piece = b"" if stream.waiting else data[at : at + dice.choice([1, 5, 4096])]
            at += len(piece)
            found = stream.unpack(piece, most)
            assert len(found) <= most
            got += found
            if not piece and not found and at >= len(data):
                break
        assert got == text


def test_what_we_pack_can_be_read_at_once():
    stream, reader = Deflate("here"), zlib.decompressobj(-15)
    for n in range(500):
        command = b"S%d UID FETCH %d:* (FLAGS)\r\n" % (n, n)
        assert reader.decompress(stream.pack(command)) == command
