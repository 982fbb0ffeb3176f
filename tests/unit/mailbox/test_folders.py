"""Folder names and roles, as real servers list them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamd.domain import FolderName
from spamd.mailbox.folders import JUNK_NAMES, Listed, Namespaces, classify, decode, encode, junk


def listed(*entries: tuple[str, bytes], separator: str = "/") -> list[Listed]:
    return [Listed(frozenset(attributes.lower().split()), separator, raw) for attributes, raw in entries]


def roles(folders) -> dict[str, str]:
    return {folder.name: folder.role for folder in folders}


def test_special_use_beats_names():
    found = classify(listed(("", b"INBOX"), ("", b"Spam"), ("\\Junk", b"Filtered"), ("\\Trash", b"Bin")))
    assert roles(found) == {"INBOX": "inbox", "Spam": "also junk", "Filtered": "junk", "Bin": "trash"}


def test_gmail():
    found = classify(
        listed(
            ("\\HasNoChildren", b"INBOX"),
            ("\\HasChildren \\Noselect", b"[Gmail]"),
            ("\\All \\HasNoChildren", b"[Gmail]/Alle Nachrichten"),
            ("\\Important", b"[Gmail]/Wichtig"),
            ("\\Flagged", b"[Gmail]/Markiert"),
            ("\\Junk", b"[Gmail]/Spam"),
        )
    )
    assert roles(found)["[Gmail]/Spam"] == "junk"
    assert [f.name for f in found if f.role == "all"] == [
        "[Gmail]/Alle Nachrichten",
        "[Gmail]/Wichtig",
        "[Gmail]/Markiert",
    ]
    assert not found[1].selectable


def test_gmail_by_name_only():
    assert roles(classify(listed(("", b"[Google Mail]/Spam"))))["[Google Mail]/Spam"] == "junk"


def test_inbox_prefix():
    spaces = Namespaces(personal=(b"INBOX.",))
    found = classify(listed(("", b"INBOX"), ("", b"INBOX.spam"), ("", b"INBOX.Trash"), separator="."), spaces)
    assert roles(found) == {"INBOX": "inbox", "INBOX.spam": "junk", "INBOX.Trash": "trash"}


@pytest.mark.parametrize("name", JUNK_NAMES)
def test_every_known_name_in_any_case(name):
    for spelling in (name, name.upper(), name.lower()):
        found = classify(listed(("", encode(FolderName(spelling)))))
        assert found[0].role == "junk" or found[0].name != spelling
    assert classify(listed(("", encode(FolderName(name)))))[0].role == "junk"


def test_names_of_many_languages():
    assert len(JUNK_NAMES) == len(set(JUNK_NAMES))
    assert len(JUNK_NAMES) > 90


@pytest.mark.parametrize("name", [b"Junk Drawer", b"Spam reports", b"Not spam", b"Archive/Spam", b"Junkyard"])
def test_a_persons_own_folders_are_left_alone(name):
    assert classify(listed(("", name)))[0].role == ""


def test_only_one_junk():
    found = classify(listed(("", b"Spam"), ("", b"Junk"), ("", b"Bulk Mail")))
    assert roles(found) == {"Spam": "also junk", "Junk": "junk", "Bulk Mail": "bulk"}
    found = classify(listed(("\\Junk", b"Junk"), ("\\Junk", b"Bulk"), ("", b"Lists")))
    assert roles(found) == {"Junk": "junk", "Bulk": "also junk", "Lists": ""}


def test_folders_that_cannot_be_opened_are_no_junk():
    found = classify(listed(("\\NonExistent", b"Junk"), ("\\Noselect \\Junk", b"Bulk"), ("", b"Spam")))
    assert roles(found) == {"Junk": "", "Bulk": "", "Spam": "junk"}


def test_other_peoples_folders():
    spaces = Namespaces(foreign=(b"user/", b"shared/"))
    found = classify(
        listed(("\\Junk", b"user/ann/Junk"), ("", b"shared/Junk"), ("", b"Spam"), ("", b"shared/Plans")),
        spaces,
    )
    assert [(f.role, f.read_only) for f in found] == [
        ("bulk", True),
        ("bulk", True),
        ("junk", False),
        ("", True),
    ]


def test_a_folder_listed_twice_is_there_once():
    assert len(classify(listed(("", b"Junk"), ("\\Junk", b"Junk")))) == 1


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"Entw&APw-rfe", "Entwürfe"),
        (b"&V4NXPpCuTvY-", "垃圾邮件"),
        (b"A &- B", "A & B"),
        (b"inbox", "INBOX"),
        (b"R & D", "R & D"),  # not modified UTF-7: shown as it is
        (b"half &APw", "half &APw"),
        ("Müll".encode(), "Müll"),  # a server that sends UTF-8 unasked
        (b"\xff\xfe", "\\xff\\xfe"),
    ],
)
def test_decoding(raw, name):
    assert decode(raw) == name


def test_two_raw_names_that_look_alike_stay_apart():
    found = classify(listed(("", b"M&APw-ll"), ("", "Müll".encode())))
    assert len({folder.name for folder in found}) == 2
    assert [folder.raw for folder in found] == [b"M&APw-ll", "Müll".encode()]


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30))
def test_every_name_comes_back(name):
    if name.upper() != "INBOX":
        assert decode(encode(FolderName(name))) == name


def test_the_persons_choice():
    spaces = Namespaces(personal=(b"INBOX.",))
    found = classify(listed(("\\Junk", b"INBOX.Junk"), ("", b"INBOX.My spam"), separator="."), spaces)

    def chosen(wanted):
        folder = junk(found, wanted, spaces)
        return folder and folder.name

    assert chosen(None) == "INBOX.Junk"
    assert chosen(FolderName("INBOX.My spam")) == "INBOX.My spam"
    assert chosen(FolderName("My spam")) == "INBOX.My spam"
    assert chosen(FolderName("Nowhere")) is None
