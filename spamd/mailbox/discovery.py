"""From an address to its IMAP server: the built-in table first; then, only if the person allows it, the network.

What is asked, and whom: SRV and MX records of the address's domain (RFC 6186), the domain's own autoconfig file, and
Mozilla's directory. They learn the domain, never the address. Nothing is taken over that would send a password
without TLS.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from xml.etree import ElementTree

from spamd.answers import ServerGuess
from spamd.domain import Account, AccountName, AuthMethod, TlsMode
from spamd.errors import RequestError
from spamd.mailbox import providers
from spamd.mailbox.providers import MailProvider

DIRECTORY = "https://autoconfig.thunderbird.net/v1.1/"
LIMIT = 256 * 1024  # bytes of an autoconfig file
SECONDS = 5.0  # for each question

_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
)


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str  # "" where the service is decidedly not offered


class Lookup(Protocol):
    """Questions to the network. None of them raises; no answer is an empty one."""

    def services(self, name: str) -> Sequence[Service]: ...

    def mail_exchangers(self, domain: str) -> Sequence[str]:
        """Best first."""
        ...

    def fetch(self, url: str) -> bytes: ...

    def answers(self, host: str, port: int) -> bool:
        """Something there speaks TLS with a certificate of that name."""
        ...


def find_servers(address: str, *, lookup: Lookup | None = None) -> list[ServerGuess]:
    """Where this address may have its mailbox, best first. `lookup` None: only what is built in.

    Raises RequestError if it is no address.
    """
    address = address.strip()
    local, at, written = address.rpartition("@")
    try:
        domain = (
            written.encode("idna").decode("ascii").lower() if written.isascii() is False else written.lower()
        )
    except UnicodeError:
        domain = ""
    if not at or not local or not _HOST.match(domain) or "." not in domain or any(c.isspace() for c in local):
        raise RequestError(f"“{address[:100]}” is no mail address.", "It should look like name@example.org.")
    known = providers.of_domain(domain)
    if known is not None:
        return _of_provider(known, address, "table")
    if lookup is None:
        return [_guess(address, f"imap.{domain}")]
    found = list(_ask(address, domain, lookup))
    unique: dict[tuple[str, int, str], ServerGuess] = {}
    for guess in found:
        unique.setdefault((guess.account.host, guess.account.port, guess.account.user), guess)
    if unique:
        return list(unique.values())
    tried = [f"imap.{domain}", f"mail.{domain}", domain]
    there = [host for host in tried if lookup.answers(host, 993)]
    return [replace(_guess(address, host), note="") for host in there] or [_guess(address, f"imap.{domain}")]


def _ask(address: str, domain: str, lookup: Lookup) -> Iterator[ServerGuess]:
    """Everything found; the surest first."""
    exchangers = lookup.mail_exchangers(domain)
    for host in exchangers:
        provider = providers.of_mail_exchanger(host)
        if provider is not None:
            yield from _of_provider(provider, address, "provider")
            break
    yield from _from_services(address, domain, lookup)
    for url in (
        f"https://autoconfig.{domain}/mail/config-v1.1.xml",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
        f"{DIRECTORY}{domain}",
    ):
        guesses = read_autoconfig(lookup.fetch(url), address)
        if guesses:
            yield from guesses
            return
    for host in exchangers[:1]:
        above = ".".join(host.rstrip(".").split(".")[-2:])
        if above != domain and _HOST.match(above):
            yield from read_autoconfig(lookup.fetch(f"{DIRECTORY}{above}"), address)


def _from_services(address: str, domain: str, lookup: Lookup) -> Iterator[ServerGuess]:
    for kind, tls in (("_imaps", TlsMode.IMPLICIT), ("_imap", TlsMode.STARTTLS)):
        for service in sorted(
            lookup.services(f"{kind}._tcp.{domain}"), key=lambda one: (one.priority, -one.weight)
        ):
            host = service.target.lower().rstrip(".")
            if not host or not _HOST.match(host) or not 0 < service.port < 65536:
                continue
            # The record is not signed: whoever can forge it could name a server of his own.
            own = host == domain or host.endswith("." + domain)
            note = (
                ""
                if own
                else f"This domain says that its mail is at {host}. Go on only if you know that name."
            )
            account = Account(AccountName(address), host=host, port=service.port, user=address, tls=tls)
            yield ServerGuess(account, "provider", note)


def _of_provider(provider: MailProvider, address: str, source: str) -> list[ServerGuess]:
    if not provider.host:
        raise RequestError(
            f"{provider.name} cannot be read by mail programs.",
            provider.password_help or "It offers no IMAP.",
        )
    plain = providers.account(provider, address)
    out = []
    if provider.oauth:
        browser = replace(plain, auth=AuthMethod.OAUTH, oauth_provider=provider.oauth)
        note = f"{provider.name}: sign in with the browser. {provider.remark}".strip()
        out.append(ServerGuess(browser, source, note))
    if not provider.oauth_only:
        # The way that works for everybody comes first: OAuth needs a registration of this program.
        out.insert(0, ServerGuess(plain, source, f"{provider.password_help} {provider.remark}".strip()))
    return out


def _guess(address: str, host: str) -> ServerGuess:
    account = Account(AccountName(address), host=host, port=993, user=address)
    return ServerGuess(
        account, "guess", "This is a guess: ask your provider for the name of its IMAP server."
    )


def read_autoconfig(text: bytes, address: str) -> list[ServerGuess]:
    """IMAP servers of a Mozilla autoconfig file (v1.1). Anything odd in it is skipped; never raises."""
    if not text or len(text) > LIMIT or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return []  # no document type means no entities, so nothing can expand
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        return []
    out: list[ServerGuess] = []
    for server in root.iter("incomingServer"):
        if server.get("type", "").lower() != "imap":
            continue
        host = _filled(server.findtext("hostname", ""), address).lower()
        port = server.findtext("port", "").strip()
        tls = {"SSL": TlsMode.IMPLICIT, "STARTTLS": TlsMode.STARTTLS}.get(
            server.findtext("socketType", "").strip()
        )
        user = _filled(server.findtext("username", "%EMAILADDRESS%"), address)
        methods = [one.text.strip() for one in server.iter("authentication") if one.text]
        if tls is None or not _HOST.match(host) or not port.isdecimal() or not 0 < int(port) < 65536:
            continue
        if not user or any(ord(one) < 33 for one in user):
            continue
        known = providers.of_host(host)
        only_oauth = bool(methods) and all(one.lower() == "oauth2" for one in methods)
        account = Account(AccountName(address), host=host, port=int(port), user=user, tls=tls)
        if only_oauth and known is not None and known.oauth:
            account = replace(account, auth=AuthMethod.OAUTH, oauth_provider=known.oauth)
        out.append(ServerGuess(account, "provider", known.password_help if known else ""))
    return sorted(out, key=lambda one: one.account.tls is not TlsMode.IMPLICIT)


def _filled(text: str, address: str) -> str:
    local, _, domain = address.rpartition("@")
    for placeholder, value in (
        ("%EMAILADDRESS%", address),
        ("%EMAILLOCALPART%", local),
        ("%EMAILDOMAIN%", domain),
    ):
        text = text.replace(placeholder, value)
    return text.strip()


class NetworkLookup:
    """The real network. Implements Lookup."""

    def services(self, name: str) -> Sequence[Service]:
        return [
            Service(record.priority, record.weight, record.port, str(record.target).rstrip("."))
            for record in self._resolve(name, "SRV")
        ]

    def mail_exchangers(self, domain: str) -> Sequence[str]:
        records = sorted(self._resolve(domain, "MX"), key=lambda record: record.preference)
        return [str(record.exchange).rstrip(".") for record in records]

    def fetch(self, url: str) -> bytes:
        import httpx

        try:
            with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
                for _ in range(3):
                    with client.stream(
                        "GET", url, headers={"Accept": "text/xml, application/xml"}
                    ) as response:
                        if response.is_redirect:
                            url = str(response.url.join(response.headers.get("location", "")))
                            if not url.startswith("https://"):
                                return b""
                            continue
                        if response.status_code != 200:
                            return b""
                        text = b""
                        for piece in response.iter_bytes():
                            text += piece
                            if len(text) > LIMIT:
                                return b""
                        return text
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError):
            pass
        return b""

    def answers(self, host: str, port: int) -> bool:
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            context = ssl.create_default_context()
            with (
                socket.create_connection((host, port), timeout=SECONDS) as raw,
                context.wrap_socket(raw, server_hostname=host) as wrapped,
            ):
                wrapped.settimeout(SECONDS)
                return wrapped.recv(4).startswith(b"* OK"[:4])
        return False

    def _resolve(self, name: str, kind: str) -> list:  # type: ignore[type-arg]  # dnspython's records by kind
        import dns.exception
        import dns.resolver

        try:
            return list(dns.resolver.resolve(name, kind, lifetime=SECONDS, search=False))
        except (dns.exception.DNSException, OSError, ValueError):
            return []


__all__ = ["Lookup", "NetworkLookup", "Service", "find_servers", "read_autoconfig"]
