"""No foreign error gets through, and every one of ours says what to do."""

from __future__ import annotations

import errno
import imaplib
import socket
import ssl

import pytest

from spamd.errors import (
    ConnectionLost,
    FolderMissing,
    FolderRefused,
    MailboxError,
    ProtocolFault,
    QuotaExceeded,
    ServerBusy,
    SignInError,
)
from spamd.mailbox.border import REFUSALS, border, convert, plain, refused
from spamd.mailbox.protocol import Reply


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (TimeoutError("timed out"), ConnectionLost),
        (socket.gaierror(-2, "Name or service not known"), ConnectionLost),
        (ConnectionRefusedError(111, "refused"), ConnectionLost),
        (ConnectionResetError(104, "reset"), ConnectionLost),
        (BrokenPipeError(32, "pipe"), ConnectionLost),
        (OSError(errno.ENETUNREACH, "unreachable"), ConnectionLost),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), ConnectionLost),
        (ssl.SSLError(1, "[SSL: SOMETHING] else"), ConnectionLost),
        (imaplib.IMAP4.abort("socket error: EOF"), ConnectionLost),
        (imaplib.IMAP4.error("b'* BYE Too many connections'"), ServerBusy),
        (imaplib.IMAP4.error("server not IMAP4 compliant"), ProtocolFault),
        (imaplib.IMAP4.abort("unexpected response: b'220 smtp'"), ProtocolFault),
        (ValueError("x"), ProtocolFault),
        (TypeError("x"), ProtocolFault),
        (IndexError("x"), ProtocolFault),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), ProtocolFault),
        (RuntimeError("something else"), ConnectionLost),
    ],
)
def test_foreign_errors(foreign, ours):
    with pytest.raises(MailboxError) as caught, border("mail.example.org", 993):
        raise foreign
    assert type(caught.value) is ours
    assert "{" not in str(caught.value)
    assert caught.value.__cause__ is foreign


def test_our_own_pass_unchanged():
    mine = FolderMissing("x")
    assert convert(mine, host="h") is mine
    with pytest.raises(FolderMissing), border("h"):
        raise mine


@pytest.mark.parametrize(
    ("status", "text", "command", "ours"),
    [
        ("NO", "[TRYCREATE] Mailbox doesn't exist: Junk", "UID MOVE", FolderMissing),
        ("NO", "[NONEXISTENT] Unknown Mailbox: x (Failure)", "STATUS", FolderMissing),
        ("NO", "Mailbox doesn't exist: x", "EXAMINE", FolderMissing),
        ("NO", "Unable to open this mailbox.", "SELECT", FolderMissing),
        ("NO", "what", "STATUS", FolderMissing),
        ("NO", "[OVERQUOTA] Quota exceeded (mailbox for user is full)", "UID COPY", QuotaExceeded),
        ("NO", "[NOPERM] Permission denied", "UID MOVE", FolderRefused),
        ("NO", "[CANNOT] not here", "UID MOVE", FolderRefused),
        ("NO", "no reason", "UID MOVE", FolderRefused),
        ("NO", "[LIMIT] x", "LOGIN", ServerBusy),
        ("NO", "[UNAVAILABLE] x", "UID FETCH", ServerBusy),
        ("NO", "[INUSE] x", "UID MOVE", ServerBusy),
        ("NO", "[SERVERBUG] Internal error", "LOGIN", ServerBusy),
        ("NO", "[SERVERBUG] UID FETCH Server error - Please try again later", "UID FETCH", MailboxError),
        ("NO", "Request is throttled. Suggested Backoff Time: 83 milliseconds", "UID FETCH", ServerBusy),
        ("BAD", "User is authenticated but not connected.", "SELECT", ServerBusy),
        ("NO", "[OVERQUOTA] Account exceeded command or bandwidth limits.", "UID FETCH", ServerBusy),
        ("NO", "[OVERQUOTA] as much as you may today", "UID FETCH", ServerBusy),
        ("NO", "[OVERQUOTA] as much as you may today", "LOGIN", ServerBusy),
        ("NO", "[OVERQUOTA] as much as you may today", "EXAMINE", ServerBusy),
        ("NO", "[OVERQUOTA] no room for flags", "UID STORE", QuotaExceeded),
        ("NO", "[INUSE] locked by another session", "SELECT", ServerBusy),
        ("NO", "[UNAVAILABLE] Temporary authentication failure.", "AUTHENTICATE", ServerBusy),
        ("NO", "[AUTHENTICATIONFAILED] x", "AUTHENTICATE", SignInError),
        ("NO", "x", "LOGIN", SignInError),
        ("BAD", "Error in IMAP command", "UID SEARCH", ProtocolFault),
        ("BAD", "Error in IMAP command", "UID MOVE", ProtocolFault),
        ("NO", "[EXPUNGEISSUED] gone", "UID MOVE", MailboxError),
        ("NO", "x", "UID FETCH", MailboxError),
    ],
)
def test_refusals(status, text, command, ours):
    error = refused(Reply(status.encode(), text.encode()), command, host="h", what="Junk")
    assert type(error) is ours
    assert "{" not in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Request is throttled. Suggested Backoff Time: 299923 milliseconds", 299.923),
        ("[THROTTLED] Suggested backoff time 90 seconds", 90),
        ("Request is throttled. Suggested Backoff Time: 99999999999 milliseconds", 3600),
        ("[LIMIT] retry after 120s", 120),
        ("[LIMIT] later", 0),
        ("[UNAVAILABLE] back off time: soon", 0),
    ],
)
def test_how_long_to_stay_away(text, seconds):
    error = refused(Reply(b"NO", text.encode()), "UID FETCH", host="h")
    assert isinstance(error, ServerBusy)
    assert error.seconds == seconds


def test_every_refusal_tells_what_happened():
    for row in REFUSALS:
        assert row.title.endswith((".", "{said}")), row.title


def test_what_a_server_says_is_shown_on_one_line():
    assert plain(b"a\r\nb\x1b[31m\xff" + b"x" * 500) == "a  b [31m�" + "x" * (200 - 10)
