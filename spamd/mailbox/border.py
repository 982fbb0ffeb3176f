"""Every foreign error, turned at the border into one of ours: with a headline, and what to do about it.

imapclient and imaplib raise error, abort, OSError, ssl.SSLError, TimeoutError, TypeError, IndexError, ...
with no common base, and a server says no in its own words. Two tables decide: one for what went wrong on
the way, one for what the server answered.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from spamd.errors import (
    ConnectionLost,
    FolderMissing,
    FolderRefused,
    MailboxError,
    PasswordsRefused,
    ProtocolFault,
    QuotaExceeded,
    ServerBusy,
    SignInError,
    SignInExpired,
    SpamdError,
)
from spamd.mailbox.protocol import Reply


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: if `fits`, it is this. Titles may use {host}, {port}, {what}, {said}."""

    fits: Callable[[BaseException], bool]
    error: type[MailboxError]
    title: str
    hint: str = ""


def _kind(*types: type[BaseException]) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, types)


def _says(pattern: str, *types: type[BaseException]) -> Callable[[BaseException], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda error: isinstance(error, types or (Exception,)) and bool(compiled.search(str(error)))


def _number(*numbers: int) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, OSError) and error.errno in numbers


def _certificate(*codes: int) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in codes


FAULTS: tuple[Fault, ...] = (
    Fault(
        _certificate(18, 19, 20, 21),
        ConnectionLost,
        "The certificate of {host} is not signed by anyone this computer trusts.",
        "If this is your own server, save its certificate as a file and name it as the account's ca_file. "
        "On a foreign network, somebody may be listening: do not go on.",
    ),
    Fault(
        _certificate(10, 9),
        ConnectionLost,
        "The certificate of {host} is out of date.",
        "Check the clock of this computer; if it is right, the mail provider has to renew the certificate.",
    ),
    Fault(
        _certificate(62, 64),
        ConnectionLost,
        "The certificate belongs to another server than {host}.",
        "Check the server name in the account's settings; it must be the name the provider gives.",
    ),
    Fault(
        _kind(ssl.SSLCertVerificationError),
        ConnectionLost,
        "The certificate of {host} cannot be verified: {said}.",
        "Check the server name and the account's ca_file.",
    ),
    Fault(
        _says(r"WRONG_VERSION_NUMBER|RECORD_LAYER|PACKET_LENGTH|HTTP_REQUEST|unknown protocol", ssl.SSLError),
        ConnectionLost,
        "{host} port {port} does not speak TLS.",
        "Port 993 is the usual one for TLS; for port 143 choose STARTTLS.",
    ),
    Fault(
        _says(r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE|NO_PROTOCOLS", ssl.SSLError),
        ConnectionLost,
        "{host} offers only outdated encryption.",
        "The mail provider has to allow TLS 1.2 or newer.",
    ),
    Fault(
        _kind(ssl.SSLError),
        ConnectionLost,
        "The encrypted connection to {host} broke: {said}.",
        "It is tried again by itself.",
    ),
    Fault(
        _kind(TimeoutError, socket.timeout),
        ConnectionLost,
        "{host} did not answer in time.",
        "It is tried again by itself. If it goes on, check the server name, the port and the network.",
    ),
    Fault(
        _kind(socket.gaierror),
        ConnectionLost,
        "The server name {host} was not found.",
        "Check its spelling, and whether this computer is online.",
    ),
    Fault(
        _kind(ConnectionRefusedError),
        ConnectionLost,
        "Nothing answers at {host} port {port}.",
        "Check server name and port. If they are right, the server is down: it is tried again by itself.",
    ),
    Fault(
        _number(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL),
        ConnectionLost,
        "There is no way to {host}: this computer seems to be offline.",
        "It is tried again by itself.",
    ),
    Fault(
        _says(r"too many|maximum number of|\[(LIMIT|UNAVAILABLE|INUSE)\]|try again later|simultaneous"),
        ServerBusy,
        "{host} asks to come back later: {said}",
        "Other mail programs may hold too many connections. It is tried again by itself.",
    ),
    Fault(
        _says(r"not IMAP4 compliant|no CAPABILITY response|unexpected (tagged )?response"),
        ProtocolFault,
        "{host} port {port} does not answer like an IMAP server.",
        "Check server name and port: POP3 and SMTP servers cannot be used.",
    ),
    Fault(
        _kind(OSError, EOFError),
        ConnectionLost,
        "The connection to {host} broke.",
        "It is tried again by itself.",
    ),
    Fault(
        _says(r"EOF|socket error|unterminated|BYE"),
        ConnectionLost,
        "{host} closed the connection.",
        "It is tried again by itself.",
    ),
    Fault(
        _kind(ValueError, TypeError, IndexError, KeyError, AssertionError, AttributeError, ArithmeticError),
        ProtocolFault,
        "An answer of {host} cannot be understood.",
        "The mail it speaks of is left alone.",
    ),
)

_REST = Fault(
    _kind(Exception), ConnectionLost, "{host} closed the connection: {said}", "It is tried again by itself."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of what a server may answer with NO, BAD or BYE. First fit wins; "" and () fit everything."""

    code: str  # response code
    text: str  # regular expression on the words, any case
    commands: tuple[str, ...]  # only for these
    error: type[MailboxError]
    title: str
    hint: str = ""


PASSWORD_HINT = "Check user name and password. Many providers want an app password instead of the normal one."
TOKEN_HINT = (
    "Sign in again (`spamdctl account sign-in NAME`, or the account's page) as the owner of this mailbox: a browser that is "
    "signed in as somebody else passes on that one's permission."
)
BROWSER_HINT = (
    "Choose sign-in with the browser (OAuth) for this account: spamdctl account sign-in NAME --with PROVIDER."
)
APP_PASSWORD_HINT = (
    "Create an app password on the provider's security page and use it here instead of your normal one."
)

_SIGN_IN = ("LOGIN", "AUTHENTICATE")
_OPEN = ("SELECT", "EXAMINE", "STATUS")
_START = (*_SIGN_IN, "CAPABILITY", "LIST", "NAMESPACE")
_PUT = ("COPY", "MOVE", "APPEND")
_READ = (*_OPEN, *_START, "FETCH", "SEARCH", "NOOP", "IDLE", "UNSELECT", "CAPABILITY", "ENABLE", "")

_DELAY = re.compile(
    r"back ?off time:? (\d+) ?(milliseconds|ms|seconds|s)\b|retry after (\d+) ?()s", re.IGNORECASE
)
LONGEST_DELAY = 3600.0  # seconds; whatever a server says

REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "",
        r"basic ?auth\w* is (disabled|blocked)|basicauthblocked|LogonDenied-BasicAuth|web login required|"
        r"please log ?in via your web browser",
        (),
        PasswordsRefused,
        "{host} accepts no passwords any more.",
        BROWSER_HINT,
    ),
    Refusal(
        "",
        r"application-specific password|app(lication)? password|app-specific",
        _SIGN_IN,
        SignInError,
        "{host} wants an app password.",
        APP_PASSWORD_HINT,
    ),
    Refusal(
        "",
        r"imap (access )?is (disabled|not enabled|turned off)|not enabled for imap|enable imap",
        _SIGN_IN,
        SignInError,
        "IMAP is switched off for this mailbox.",
        "Switch IMAP on in the settings of your provider's web mail.",
    ),
    Refusal(
        "LIMIT",
        "",
        (),
        ServerBusy,
        "{host} allows no more connections or commands for now.",
        "Other mail programs may hold too many. It is tried again by itself.",
    ),
    Refusal(
        "INUSE",
        "",
        (),
        ServerBusy,
        "The mailbox is in use by another program.",
        "It is tried again by itself.",
    ),
    Refusal(
        "UNAVAILABLE",
        "",
        (),
        ServerBusy,
        "{host} is not available for the moment.",
        "It is tried again by itself.",
    ),
    # Not of space, where nothing is written: of bytes or commands a day.
    Refusal(
        "OVERQUOTA",
        "",
        _READ,
        ServerBusy,
        "{host} has given as much as it wants to for now: {said}",
        "It is tried again by itself.",
    ),
    Refusal("THROTTLED", "", (), ServerBusy, "{host} asks us to slow down.", "It is tried again by itself."),
    Refusal(
        "SERVERBUG", "", _START, ServerBusy, "{host} has an internal error.", "It is tried again by itself."
    ),
    # Of a single mail or folder (Yahoo): the others can be had.
    Refusal("SERVERBUG", "", (), MailboxError, "{host} has an internal error: {said}"),
    Refusal(
        "",
        r"too many (simultaneous )?connections|maximum number of connections|bandwidth limit|"
        r"account exceeded|rate limit|throttl|back ?off time|temporary (internal )?(error|failure|authentication)|"
        r"try again later|server (is )?busy|user is authenticated but not connected|system error",
        (),
        ServerBusy,
        "{host} asks to come back later: {said}",
        "It is tried again by itself.",
    ),
    Refusal(
        "EXPIRED",
        "",
        _SIGN_IN,
        SignInExpired,
        "The sign-in for {host} has expired.",
        "Sign in again for this account.",
    ),
    Refusal(
        "PRIVACYREQUIRED",
        "",
        (),
        SignInError,
        "{host} wants an encrypted connection.",
        "Choose TLS (port 993) or STARTTLS for this account.",
    ),
    Refusal(
        "CONTACTADMIN",
        "",
        (),
        SignInError,
        "{host} has locked this mailbox.",
        "Ask the provider: {said}",
    ),
    Refusal(
        "AUTHORIZATIONFAILED",
        "",
        (),
        SignInError,
        "{host} does not let this user in.",
        "Check the user name.",
    ),
    Refusal(
        "AUTHENTICATIONFAILED",
        "",
        (),
        SignInError,
        "{host} did not accept user name and password.",
        PASSWORD_HINT,
    ),
    Refusal(
        "",
        "",
        _SIGN_IN,
        SignInError,
        "{host} did not accept the sign-in: {said}",
        PASSWORD_HINT,
    ),
    Refusal(
        "OVERQUOTA", "", (), QuotaExceeded, "The mailbox is full.", "Delete mail, or empty Trash and Junk."
    ),
    Refusal(
        "",
        r"over ?quota|quota exceeded|mailbox (is )?full",
        (),
        QuotaExceeded,
        "The mailbox is full.",
        "Delete mail, or empty Trash and Junk.",
    ),
    Refusal(
        "TRYCREATE",
        "",
        (),
        FolderMissing,
        "The folder {what} is not there.",
        "Create it, or choose another one.",
    ),
    Refusal(
        "NONEXISTENT",
        "",
        (),
        FolderMissing,
        "The folder {what} is not there.",
        "Create it, or choose another one.",
    ),
    Refusal(
        "NOPERM",
        "",
        (),
        FolderRefused,
        "You have no right to do this in the folder {what}.",
        "The owner of the folder or the mail administrator can allow it.",
    ),
    Refusal("READ-ONLY", "", (), FolderRefused, "The folder {what} may only be read."),
    Refusal(
        "",
        r"permission denied|access denied|not (allowed|permitted)|read-?only",
        (),
        FolderRefused,
        "The server does not allow this in the folder {what}.",
    ),
    Refusal(
        "",
        r"not (found|exist)|n.t exist|no such (mailbox|folder)|unknown mailbox|nonexist|unable to open",
        (),
        FolderMissing,
        "The folder {what} is not there.",
        "Create it, or choose another one.",
    ),
    Refusal("CANNOT", "", (), FolderRefused, "The server cannot do this in the folder {what}."),
    Refusal("EXPUNGEISSUED", "", (), MailboxError, "Another program took the mail away first."),
    Refusal("", "", _OPEN, FolderMissing, "The folder {what} cannot be opened: {said}"),
    Refusal("", "", _PUT, FolderRefused, "The server refused to put mail into {what}: {said}"),
)


def plain(text: bytes | str, limit: int = 200) -> str:
    """A server's words, safe to show: one line, printable, short."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(c if c.isprintable() else " " for c in decoded).strip()[:limit]


def convert(error: BaseException, *, host: str, port: int = 0) -> MailboxError:
    """A foreign exception as one of ours."""
    if isinstance(error, MailboxError):
        return error
    row = next((fault for fault in FAULTS if fault.fits(error)), _REST)
    words = {"host": host, "port": port, "what": "", "said": plain(_said(error)).rstrip(".")}
    return row.error(row.title.format_map(words), row.hint.format_map(words))


def _said(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    text = str(error.args[-1] if isinstance(error, OSError) and error.args else error)
    # imaplib wraps the server's bytes in its own words: keep the server's
    match = re.search(r"b'(?:\* )?(?:BYE|NO|BAD)? ?(.*)'", text)
    return match.group(1) if match else text


def refused(reply: Reply, command: str, *, host: str, what: str = "") -> MailboxError:
    """A NO or BAD as one of ours. `what`: the folder it was about."""
    names = {code.name.decode("ascii", "replace") for code in reply.codes()}
    text = plain(reply.text)
    said = re.sub(r"^\[[^\]]*\]\s*", "", text) or text
    verb = command.removeprefix("UID ")
    words = {"host": host, "port": 0, "what": what or "", "said": said}
    for row in REFUSALS:
        if row.commands and verb not in row.commands:
            continue
        if row.code and row.code not in names:
            continue
        if row.text and not re.search(row.text, text, re.IGNORECASE):
            continue
        if reply.status == b"BAD" and not row.code and not row.text and verb not in _SIGN_IN:
            continue  # BAD means: not understood, whatever the command
        title, hint = row.title.format_map(words), row.hint.format_map(words)
        if issubclass(row.error, ServerBusy):
            return row.error(title, hint, seconds=_delay(text))
        return row.error(title, hint)
    if reply.status == b"BAD":
        return ProtocolFault(f"{host} did not understand {verb}: {said}")
    return MailboxError(f"{host} refused {verb}: {said}")


def _delay(text: str) -> float:
    """How long to stay away, as Exchange says it ("Suggested Backoff Time: 299923 milliseconds"). Seconds; 0: not said."""
    match = _DELAY.search(text)
    if not match:
        return 0.0
    number = float((match.group(1) or match.group(3))[:12])
    return min(
        LONGEST_DELAY, number / 1000 if (match.group(2) or "").lower() in ("milliseconds", "ms") else number
    )


@contextmanager
def border(host: str, port: int = 0) -> Iterator[None]:
    """Nothing foreign gets out of this block."""
    try:
        yield
    except SpamdError:
        raise
    except Exception as error:
        raise convert(error, host=host, port=port) from error
