"""How servers differ, as a table. A row says what the code must know; there is no other place with server
names.

Sources: reference measurements for Dovecot, Cyrus, Courier and pymap; published limits and bug reports of
mail libraries for the others. Rows are tried from the top; the last one fits every server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """One kind of server. The defaults describe a server that keeps its word."""

    name: str
    title: str  # for people
    hosts: tuple[str, ...] = ()  # the host is this name or below it
    id_names: tuple[str, ...] = ()  # words in the ID answer's name or vendor, lower case
    banner: str = ""  # regular expression on the greeting, any case
    capability: str = ""  # a capability only this server has
    max_connections: int = 8  # per account and address, of which we use two
    bytes_per_day: int = 0  # download limit; 0: none known
    spam_folder_reports: bool = False  # moving to Junk tells the provider "spam"
    unstable_uids: bool = False  # UIDs and UIDVALIDITY may change without reason
    keywords: bool = True  # keeps keywords
    search_keywords: bool = True  # SEARCH KEYWORD works
    uid_expunge: bool = True  # UID EXPUNGE works where UIDPLUS is offered
    idle: bool = True  # IDLE works where it is offered
    qresync: bool = True  # QRESYNC works where it is offered
    compress: bool = True  # COMPRESS=DEFLATE works where it is offered
    notify: bool = True  # NOTIFY works where it is offered
    idle_pushes: bool = True  # IDLE tells of new mail before DONE
    idle_seconds: float = 540.0  # renew after this time
    instead: bytes = b""  # how the mail begins that is given in place of one that was just taken away
    guid: bool = False  # FETCH X-GUID is a stable id
    rewrites_headers: bool = False  # header and size may change in a move: identity from few fields
    oauth: str = ""  # row of mailbox/oauth.py: sign-in with the browser
    vendor: str = ""  # XOAUTH2 wants "vendor=..."
    needs_app_password: bool = False  # the normal password never works
    password_help: str = ""  # what to tell after a refused password


_APP_PASSWORD = "This provider wants an app password instead of your normal one. Create it at {url}."

GMAIL = "gmail"
FEW_CONNECTIONS = 5  # at a time and account; worth telling
QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        GMAIL,
        "Gmail",
        hosts=("gmail.com", "googlemail.com"),
        id_names=("gimap",),
        banner=r"\bGimap\b",
        capability="X-GM-EXT-1",
        max_connections=15,
        bytes_per_day=2_500_000_000,
        spam_folder_reports=True,
        keywords=True,
        idle_seconds=540.0,
        oauth="google",
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://myaccount.google.com/apppasswords"),
    ),
    Quirk(
        "exchange",
        "Microsoft Exchange or Outlook",
        hosts=("outlook.com", "office365.com", "hotmail.com"),
        banner=r"Microsoft Exchange",
        max_connections=8,
        spam_folder_reports=True,
        keywords=False,
        search_keywords=False,
        rewrites_headers=True,
        oauth="microsoft",
        password_help=(
            "Outlook.com and Microsoft 365 accept no password: choose sign-in with the browser (OAuth). "
            "An Exchange of your own may: then check user name and password."
        ),
    ),
    Quirk(
        "icloud",
        "iCloud",
        hosts=("mail.me.com", "icloud.com"),
        id_names=("icloud",),
        capability="XAPPLEPUSHSERVICE",
        qresync=False,  # says yes to ENABLE and switches nothing on
        max_connections=8,
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://account.apple.com"),
    ),
    Quirk(
        "yahoo",
        "Yahoo or AOL",
        hosts=("yahoo.com", "yahoo.co.jp", "aol.com", "att.net", "ymail.com"),
        id_names=("y!imap", "yahoo"),
        banner=r"\bIMAP4rev1 (imapgate|Hello).*Yahoo|Y!IMAP",
        capability="XYMHIGHESTMODSEQ",
        max_connections=5,
        spam_folder_reports=True,
        oauth="yahoo",
        vendor="Yahoo",
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://login.yahoo.com/account/security"),
    ),
    Quirk(
        "proton-bridge",
        "Proton Mail Bridge",
        id_names=("proton mail bridge", "protonmail bridge", "proton"),
        banner=r"Proton ?Mail|gluon",
        max_connections=4,
        unstable_uids=True,
        uid_expunge=False,
        password_help="Use the password that the Bridge shows for this account, not your Proton password.",
    ),
    Quirk(
        "yandex",
        "Yandex",
        hosts=("yandex.ru", "yandex.com", "yandex.net", "ya.ru"),
        banner=r"\bYandex\b",
        max_connections=5,
        idle_seconds=240.0,  # drops idle connections after 6 to 45 minutes
        spam_folder_reports=True,
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://id.yandex.ru/security/app-passwords"),
    ),
    Quirk(
        "fastmail",
        "Fastmail",
        hosts=("fastmail.com", "messagingengine.com", "fastmail.fm"),
        max_connections=10,
        spam_folder_reports=True,
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://app.fastmail.com/settings/security/apps"),
    ),
    Quirk(
        "cyrus",
        "Cyrus",
        id_names=("cyrus",),
        banner=r"\bCyrus IMAP\b",
    ),
    Quirk(
        "courier",
        "Courier",
        id_names=("courier",),
        banner=r"Courier-IMAP",
        max_connections=4,
        idle_pushes=False,  # without FAM only DONE brings the news
        instead=b"From: System Administrator <root@localhost>\r\nSubject: message unavailable\r\n",
    ),
    Quirk(
        "gmx",
        "GMX, WEB.DE or mail.com",
        hosts=("gmx.net", "gmx.com", "gmx.de", "web.de", "mail.com"),
        max_connections=5,
    ),
    Quirk(
        "zoho",
        "Zoho Mail",
        hosts=("zoho.com", "zoho.eu", "zoho.in"),
        max_connections=5,
        needs_app_password=True,
        password_help=_APP_PASSWORD.format(url="https://accounts.zoho.com/home#security/app_password"),
    ),
    Quirk(
        "hmailserver",
        "hMailServer",
        id_names=("hmailserver",),
        banner=r"hMailServer",
        keywords=False,
        max_connections=4,
    ),
    Quirk(
        "davmail",
        "DavMail",
        banner=r"DavMail",
        keywords=True,
        uid_expunge=False,
        rewrites_headers=True,
        max_connections=4,
    ),
    Quirk("pymap", "pymap", banner=r"pymap|Pymap", id_names=("pymap",)),
    Quirk("dovecot", "Dovecot", id_names=("dovecot",), banner=r"Dovecot", guid=True),
    Quirk("standard", "IMAP server"),
)


def named(name: str) -> Quirk:
    """The row of that name; the last one for a name we do not know."""
    return next((quirk for quirk in QUIRKS if quirk.name == name), QUIRKS[-1])


def remarks(quirk: Quirk, label: str = "") -> tuple[str, ...]:
    """What a person should know of this kind of server, one sentence each. label: Gmail's, until the account filters."""
    said = []
    if quirk.name == GMAIL:
        instead = f"only gets the label “{label}” and stays in the inbox" if label else "is only listed"
        said.append(
            "A move to Spam also reports the sender to Google. Until this account filters, mail that looks like junk is "
            f"therefore not moved: it {instead}."
        )
    elif quirk.spam_folder_reports:
        said.append("Moving a mail to the Junk folder also tells the provider that it is spam.")
    if quirk.needs_app_password:
        said.append("Signing in takes an app password or the browser, not the normal password.")
    if not quirk.keywords:
        said.append("The server keeps no keywords: judged mail cannot be marked.")
    if quirk.unstable_uids:
        said.append("Mails may get new numbers by themselves: they are recognised by their header.")
    if not quirk.idle_pushes:
        said.append("The server does not tell of new mail: it is asked every two minutes.")
    if quirk.max_connections <= FEW_CONNECTIONS:
        said.append(
            f"The server allows {quirk.max_connections} connections at a time for all programs; this one takes two."
        )
    if quirk.bytes_per_day:
        said.append(f"The provider allows to download {quirk.bytes_per_day // 1_000_000} MB a day.")
    return tuple(said)


def match(host: str, banner: str, capabilities: Iterable[str], identification: Mapping[str, str]) -> Quirk:
    """The first row that fits: by ID answer, greeting, capability or host name."""
    host = host.lower().rstrip(".")
    offered = {capability.upper() for capability in capabilities}
    words = " ".join((identification.get("name", ""), identification.get("vendor", ""))).lower()
    for quirk in QUIRKS:
        if (
            any(host == known or host.endswith("." + known) for known in quirk.hosts)
            or any(name in words for name in quirk.id_names)
            or (quirk.banner and re.search(quirk.banner, banner, re.IGNORECASE))
            or (quirk.capability and quirk.capability.upper() in offered)
        ):
            return quirk
    return QUIRKS[-1]
