"""Links: host, registered domain and oddities."""

from __future__ import annotations

from pathlib import Path

import pytest

from spamd.message import links, vector
from spamd.message.links import Link

MAILS = Path(__file__).parents[2] / "data" / "tricks"


def of(name: str) -> tuple[Link, ...]:
    return vector.vectorise((MAILS / f"link-{name}.eml").read_bytes()).links


@pytest.mark.parametrize(
    ("name", "flag", "host"),
    [
        ("text-differs", "text-differs", "evil.example.ru"),
        ("punycode", "punycode", "pаypаl.com"),
        ("punycode", "look-alike-host", "pаypаl.com"),
        ("look-alike-host", "look-alike-host", "pаypаl.com"),
        ("user-in-url", "user-in-url", "evil.example.ru"),
        ("redirect", "redirect", "click.example.com"),
        ("shortener", "shortener", "bit.ly"),
        ("open-hosting", "open-hosting", "login-portal.weebly.com"),
        ("coded-host", "coded-host", "evil.example.ru"),
    ],
)
def test_oddities(name: str, flag: str, host: str) -> None:
    first = of(name)[0]
    assert flag in first.flags
    assert first.host == host


def test_addresses_in_every_notation_are_addresses() -> None:
    found = of("ip")
    assert all("ip" in link.flags for link in found)
    assert [("port" in link.flags, "coded-ip" in link.flags) for link in found] == [
        (True, False),
        (False, True),
        (False, True),
        (False, True),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http:\\\\evil.example\\x",
        "https:/evil.example/x",
        "HTTP:///evil.example/x",
        "/\\evil.example/x",
        "http://evil.example\\@bank.example/",
        "http:/\\evil.example\\x?to=a\\b",
    ],
)
def test_slashes_are_read_as_browsers_do(url: str) -> None:
    found = links.link(url, "www.bank.com")
    assert found is not None
    assert found.host == "evil.example"
    assert "text-differs" in found.flags


@pytest.mark.parametrize("host", ["ev\u00adil.example.com", "evil\u200b.example\u2060.com", "evil\u3002example\uff0ecom", "ev%E2%80%8Bil.example.com"])  # fmt: skip
def test_a_host_is_read_as_it_is_asked_for(host: str) -> None:
    found = links.link(f"https://{host}/x")
    assert found is not None
    assert (found.host, found.domain) == ("evil.example.com", "example.com")


def test_what_leads_nowhere_stays_so() -> None:
    for url in ("/x/y", "x\\y", "file:\\\\x.example", "C:\\x"):
        found = links.link(url)
        assert found is not None
        assert "." not in found.host


def test_other_schemes() -> None:
    mail, call = of("mailto-tel")
    assert (mail.flags, mail.domain, call.flags) == ({"mailto"}, "example.com", {"tel"})
    kinds = [(link.kind, set(link.flags)) for link in of("script")]
    assert kinds == [("a", {"javascript"}), ("a", {"data"}), ("form", set())]


def test_both_redirects_and_both_hosts() -> None:
    assert all("redirect" in link.flags for link in of("redirect"))
    assert all("open-hosting" in link.flags for link in of("open-hosting"))


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("www.example.com", "example.com"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
        ("", ""),
        ("mx.home.invalid", "mx.home.invalid"),
        ("x" * 5_000, "x" * 253),
    ],
)
def test_registered_domain(host: str, domain: str) -> None:
    assert links.registered(host) == domain


@pytest.mark.parametrize(
    ("shown", "differs"),
    [
        ("https://www.example.com/a", False),
        ("example.com", False),
        ("Read it at example.com", False),
        ("www.bank.com", True),
        ("bank.co.uk/login", True),
        ("ann@bank.com", False),
        ("Version 2.0", False),
        ("report.pdf", False),
        ("", False),
    ],
)
def test_shown_text_against_target(shown: str, differs: bool) -> None:
    found = links.link("https://www.example.com/x", shown)
    assert found is not None
    assert ("text-differs" in found.flags) is differs


@pytest.mark.parametrize("url", ["", "#top", "http://", "http:///", "//", "x:", "http://[::1", "http://%", "ht tp://a.com",
                                 "http://" + "a." * 5_000, "mailto:", "data:" + "x" * 9_000, "\x00", "http://a\\@b.com/"])  # fmt: skip
def test_broken_links_never_raise(url: str) -> None:
    links.link(url, "text")
    links.link(url, "www.bank.com", "text")


def test_links_written_in_the_text() -> None:
    raw = b"Subject: x\n\nSee https://a.example.com/x, www.b.example.org. and hxxp://c.example.net/ end\n"
    assert [link.host for link in vector.vectorise(raw).links] == [
        "a.example.com",
        "c.example.net",
        "www.b.example.org",
    ]
