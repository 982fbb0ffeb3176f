"""The table of servers: every row can be reached, and by the sign it is known for."""

from __future__ import annotations

import pytest

from spamd.mailbox.quirks import QUIRKS, match, named, remarks


@pytest.mark.parametrize(
    ("host", "banner", "capabilities", "identification", "name"),
    [
        ("imap.gmail.com", "Gimap ready", "IMAP4rev1 X-GM-EXT-1", {}, "gmail"),
        ("imap.example.org", "Gimap ready for requests", "", {}, "gmail"),
        ("outlook.office365.com", "", "", {}, "exchange"),
        ("mail.corp.example", "The Microsoft Exchange IMAP4 service is ready.", "", {}, "exchange"),
        ("imap.mail.me.com", "", "IMAP4rev1 XAPPLEPUSHSERVICE", {}, "icloud"),
        ("imap.mail.yahoo.com", "", "", {}, "yahoo"),
        ("127.0.0.1", "", "", {"name": "Proton Mail Bridge"}, "proton-bridge"),
        ("imap.yandex.ru", "", "", {}, "yandex"),
        ("imap.fastmail.com", "", "", {"name": "Cyrus IMAP"}, "fastmail"),
        ("mail.example.org", "", "", {"name": "Cyrus IMAP", "version": "3.6"}, "cyrus"),
        ("mail.example.org", "Courier-IMAP ready. Copyright", "", {}, "courier"),
        ("mail.example.org", "hMailServer IMAP", "", {}, "hmailserver"),
        ("127.0.0.1", "DavMail ready", "", {}, "davmail"),
        ("mail.example.org", "Dovecot ready.", "", {"name": "Dovecot"}, "dovecot"),
        ("mail.example.org", "ready", "IMAP4rev1", {}, "standard"),
        ("notgmail.com", "ready", "IMAP4rev1", {}, "standard"),
        ("IMAP.GMAIL.COM.", "", "", {}, "gmail"),
    ],
)
def test_known_by(host, banner, capabilities, identification, name):
    assert match(host, banner, capabilities.split(), identification).name == name


def test_the_table_is_sane():
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
    for quirk in QUIRKS:
        assert quirk.title
        assert quirk.max_connections >= 2, "one connection waits, one works"
        assert 60 <= quirk.idle_seconds <= 29 * 60
        assert quirk.name == "standard" or quirk.hosts or quirk.id_names or quirk.banner or quirk.capability
    assert QUIRKS[-1].name == "standard"


@pytest.mark.parametrize(
    "quirk", [quirk for quirk in QUIRKS if quirk.needs_app_password], ids=lambda quirk: quirk.name
)
def test_app_passwords_are_explained(quirk):
    assert "app password" in quirk.password_help
    assert "https://" in quirk.password_help
    assert any("app password" in remark for remark in remarks(quirk))


def test_remarks_for_people():
    assert any("2500 MB" in remark for remark in remarks(named("gmail")))
    assert any(
        "reports the sender to Google" in one and "“Junk?”" in one for one in remarks(named("gmail"), "Junk?")
    )
    assert any("only listed" in remark for remark in remarks(named("gmail")))
    assert any("keeps no keywords" in remark for remark in remarks(named("exchange")))
    assert remarks(named("dovecot")) == ()
    assert named("nobody knows this").name == "standard"
