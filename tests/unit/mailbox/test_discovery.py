"""From an address to its server: table first, the network only where allowed, nothing that would give a password away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd import settings
from spamd.domain import AuthMethod, TlsMode
from spamd.errors import RequestError
from spamd.mailbox import oauth, providers
from spamd.mailbox.discovery import Service, find_servers, read_autoconfig


class Network:
    """A small world: what it was asked is written down."""

    def __init__(self, services=None, exchangers=None, pages=None, hosts=()) -> None:
        self.known_services = services or {}
        self.exchangers = exchangers or {}
        self.pages = pages or {}
        self.hosts = set(hosts)
        self.asked: list[str] = []

    def services(self, name):
        self.asked.append(name)
        return self.known_services.get(name, [])

    def mail_exchangers(self, domain):
        self.asked.append(domain)
        return self.exchangers.get(domain, [])

    def fetch(self, url):
        self.asked.append(url)
        return self.pages.get(url, b"")

    def answers(self, host, port):
        self.asked.append(host)
        return host in self.hosts


CONFIG = b"""<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="example.org">
<incomingServer type="pop3"><hostname>pop.example.org</hostname><port>995</port><socketType>SSL</socketType></incomingServer>
<incomingServer type="imap"><hostname>imap.example.org</hostname><port>143</port><socketType>STARTTLS</socketType>
<username>%EMAILLOCALPART%</username><authentication>password-cleartext</authentication></incomingServer>
<incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username></incomingServer>
<incomingServer type="imap"><hostname>bad.example.org</hostname><port>143</port><socketType>plain</socketType></incomingServer>
</emailProvider></clientConfig>"""


def test_large_providers_need_no_network():
    gmail, by_browser = find_servers("me@GMAIL.com")
    assert (gmail.account.host, gmail.account.port, gmail.account.tls) == (
        "imap.gmail.com",
        993,
        TlsMode.IMPLICIT,
    )
    assert "app password" in gmail.note and "reports the sender to Google" in gmail.note
    assert by_browser.account.auth is AuthMethod.OAUTH
    (outlook,) = find_servers("me@hotmail.co.uk")
    assert (outlook.account.auth, outlook.account.oauth_provider) == (AuthMethod.OAUTH, "microsoft")
    (free,) = find_servers("jean.dupont@free.fr")
    assert free.account.user == "jean.dupont"
    (bridge,) = find_servers("me@proton.me")
    assert (bridge.account.host, bridge.account.tls) == ("127.0.0.1", TlsMode.STARTTLS)
    assert find_servers("me@triad.rr.com")[0].account.host == "mobile.charter.net"


def test_providers_without_imap():
    with pytest.raises(RequestError) as refused:
        find_servers("me@tuta.com")
    assert "no IMAP" in refused.value.hint


def test_unknown_domain_without_permission_asks_nobody():
    (guess,) = find_servers("me@example.org")
    assert (guess.account.host, guess.source) == ("imap.example.org", "guess")


@pytest.mark.parametrize(
    "address",
    ["", "me", "@example.org", "me@", "me@localhost", "a b@example.org", "me@exa mple.org", "me@-x-.org/"],
)
def test_no_address(address):
    with pytest.raises(RequestError):
        find_servers(address)


def test_services():
    network = Network(
        services={
            "_imaps._tcp.example.org": [
                Service(10, 1, 993, "mail2.example.org"),
                Service(5, 1, 9993, "mail.example.org."),
            ],
            "_imap._tcp.example.org": [Service(0, 0, 143, ".")],
        }
    )
    found = find_servers("me@example.org", lookup=network)
    assert [(one.account.host, one.account.port) for one in found] == [
        ("mail.example.org", 9993),
        ("mail2.example.org", 993),
    ]
    assert not any("me@" in question for question in network.asked), "the address itself is never told"


def test_a_foreign_server_is_named_as_such():
    network = Network(services={"_imaps._tcp.example.org": [Service(0, 0, 993, "imap.elsewhere.example")]})
    (found,) = find_servers("me@example.org", lookup=network)
    assert "imap.elsewhere.example" in found.note


def test_hosted_domain_by_its_mail_exchanger():
    network = Network(exchangers={"example.org": ["aspmx.l.google.com"]})
    assert find_servers("me@example.org", lookup=network)[0].account.host == "imap.gmail.com"
    network = Network(exchangers={"example.org": ["example-org.mail.protection.outlook.com"]})
    assert find_servers("me@example.org", lookup=network)[0].account.oauth_provider == "microsoft"


def test_autoconfig():
    network = Network(pages={"https://example.org/.well-known/autoconfig/mail/config-v1.1.xml": CONFIG})
    found = find_servers("me@example.org", lookup=network)
    assert [(one.account.host, one.account.port, one.account.tls, one.account.user) for one in found] == [
        ("imap.example.org", 993, TlsMode.IMPLICIT, "me@example.org"),
        ("imap.example.org", 143, TlsMode.STARTTLS, "me"),
    ]
    assert all(url.startswith("https://") for url in network.asked if "/" in url)


def test_guess_that_answers():
    network = Network(hosts={"mail.example.org"})
    (found,) = find_servers("me@example.org", lookup=network)
    assert (found.account.host, found.note) == ("mail.example.org", "")


def test_international_domain():
    (guess,) = find_servers("me@bücher.example")
    assert guess.account.host == "imap.xn--bcher-kva.example"


BOMB = (
    b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><clientConfig>&b;</clientConfig>"""
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<",
        BOMB,
        CONFIG.replace(b"imap.example.org", b"imap.example.org/evil").replace(b"imap.%EMAILDOMAIN%", b"a b"),
        CONFIG.replace(b"143", b"99999").replace(b"993", b"-1"),
        b"<clientConfig>" + b"x" * 300_000 + b"</clientConfig>",
        b"\xff\xfe<clientConfig/>",
        b"<?xml version='1.0' encoding='no-such'?><a/>",
    ],
)
def test_hostile_autoconfig(text):
    assert read_autoconfig(text, "me@example.org") == []


@given(st.binary(max_size=300))
def test_autoconfig_never_raises(text):
    read_autoconfig(b"<clientConfig><incomingServer type='imap'>" + text, "me@example.org")


def test_table_is_sound():
    seen: set[str] = set()
    known = {one.name for one in oauth.PROVIDERS}
    for provider in providers.PROVIDERS:
        assert provider.domains or provider.mx, provider.name
        assert provider.host or "IMAP" in provider.password_help or not provider.domains, provider.name
        assert not seen & set(provider.domains), (provider.name, seen & set(provider.domains))
        seen |= set(provider.domains)
        assert provider.user in ("address", "local")
        assert not provider.oauth or provider.oauth in known
        if provider.host:
            made = providers.account(provider, "a@b.example", "name")
            settings.check_account(made)
