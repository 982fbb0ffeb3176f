"""Looking up servers for real: DNS over UDP, pages over TLS, a mail server that answers. All on this computer.

What the person did not allow is not asked (unit tests: no lookup, no question); here it is allowed.
"""

from __future__ import annotations

import http.server
import socket
import ssl
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
import trustme

from spamd import settings
from spamd.domain import TlsMode
from spamd.mailbox import discovery
from spamd.mailbox.discovery import NetworkLookup, find_servers
from spamd.opening import find_servers as as_allowed

PAGE = b"""<clientConfig version="1.1"><emailProvider id="x">
<incomingServer type="imap"><hostname>imap.example.org</hostname><port>993</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username></incomingServer></emailProvider></clientConfig>"""


class Names:
    """A name server. records: (name, type) -> lines as in a zone file; everything asked is written down."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[str] = []
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="names", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, where = self._socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            question = dns.message.from_wire(data)
            name, kind = (
                question.question[0].name.to_text().rstrip("."),
                dns.rdatatype.to_text(question.question[0].rdtype),
            )
            self.asked.append(f"{name} {kind}")
            if self.silent:
                continue
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.RA
            found = self.records.get((name, kind))
            if found:
                answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *found))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), where)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(30)
        self._socket.close()


@pytest.fixture
def names(monkeypatch):
    server = Names()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield server
    server.close()


class Pages:
    """An HTTPS server; pages: path -> (status, headers, body)."""

    def __init__(self, authority: trustme.CA) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        pages, self.asked = self.pages, []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                status, headers, body = pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


@pytest.fixture
def pages(tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = Pages(authority)
    yield server
    server.close()


def test_services_and_exchangers(names):
    names.records = {
        ("_imaps._tcp.example.org", "SRV"): ["10 5 993 mail.example.org.", "0 1 1993 imap.example.org."],
        ("_imap._tcp.example.org", "SRV"): ["0 0 0 ."],  # RFC 6186: expressly none
        ("example.org", "MX"): ["20 second.example.org.", "10 first.example.org."],
    }
    lookup = NetworkLookup()
    assert lookup.mail_exchangers("example.org") == ["first.example.org", "second.example.org"]
    assert lookup.services("_imaps._tcp.nowhere.example") == []
    found = list(discovery._from_services("me@example.org", "example.org", lookup))
    assert [(one.account.host, one.account.port, one.account.tls) for one in found] == [
        ("imap.example.org", 1993, TlsMode.IMPLICIT),
        ("mail.example.org", 993, TlsMode.IMPLICIT),
    ]
    assert not any("me" in question.split(".") for question in names.asked)


def test_a_name_server_that_says_nothing(names, monkeypatch):
    monkeypatch.setattr(discovery, "SECONDS", 0.3)
    names.silent = True
    assert NetworkLookup().services("_imaps._tcp.example.org") == []


def test_pages(pages, monkeypatch):
    monkeypatch.setattr(discovery, "SECONDS", 30.0)
    pages.pages |= {
        "/config": (200, {}, PAGE),
        "/moved": (302, {"Location": "/config"}, b""),
        "/in-the-clear": (302, {"Location": "http://localhost/config"}, b""),
        "/circle": (302, {"Location": "/circle"}, b""),
        "/huge": (200, {}, b"x" * (discovery.LIMIT + 1)),
    }
    fetch = NetworkLookup().fetch
    assert fetch(f"{pages.url}/config") == PAGE
    assert fetch(f"{pages.url}/moved") == PAGE
    for path in ("in-the-clear", "circle", "huge", "missing"):
        assert fetch(f"{pages.url}/{path}") == b"", path
    assert fetch("https://localhost:1/nobody") == b""
    assert fetch("no address at all") == b""


def test_a_page_of_somebody_else_is_not_read(pages, tmp_path, monkeypatch):
    """A certificate nobody here trusts."""
    other = trustme.CA()
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    pages.pages["/config"] = (200, {}, PAGE)
    assert NetworkLookup().fetch(f"{pages.url}/config") == b""
    assert pages.asked == []


def test_who_answers(dovecot, monkeypatch):
    host = dovecot()
    monkeypatch.setenv("SSL_CERT_FILE", host.ca_file)
    lookup = NetworkLookup()
    assert lookup.answers("127.0.0.1", host.tls_port)
    assert not lookup.answers("127.0.0.1", host.port), "speaks no TLS"
    assert not lookup.answers("127.0.0.1", 1)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert not lookup.answers("127.0.0.1", host.tls_port), "a certificate nobody here trusts"


def test_the_whole_way(names, pages, monkeypatch):
    """By the directory, after the domain's own places said nothing: only with the person's consent."""
    monkeypatch.setattr(discovery, "SECONDS", 30.0)
    monkeypatch.setattr(discovery, "DIRECTORY", f"{pages.url}/v1.1/")
    pages.pages["/v1.1/example.org"] = (200, {}, PAGE)
    (guess,) = as_allowed("me@example.org", settings.Settings())
    assert guess.source == "guess"
    assert names.asked == pages.asked == [], "not allowed, not asked"
    (found,) = as_allowed("me@example.org", settings.Settings(look_up_servers=True))
    assert (found.account.host, found.account.port, found.source) == ("imap.example.org", 993, "provider")
    assert "/v1.1/example.org" in pages.asked
    assert not any("me" in asked.split("/") or "@" in asked for asked in (*names.asked, *pages.asked))
    names.records[("_imaps._tcp.example.org", "SRV")] = ["0 1 993 mail.example.org."]
    first, second = find_servers("me@example.org", lookup=NetworkLookup())
    assert (first.account.host, second.account.host) == ("mail.example.org", "imap.example.org")
