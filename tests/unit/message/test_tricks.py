"""Every trick has a mail that shows it. The mails are bytes as they arrive: see tests/data/tricks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from spamd.message import dense, vector
from spamd.message.vector import Features

MAILS = Path(__file__).parents[2] / "data" / "tricks"


def read(name: str) -> Features:
    return vector.vectorise((MAILS / f"{name}.eml").read_bytes())


@pytest.mark.parametrize(
    ("name", "trick"),
    [
        ("hidden-text", "hidden-text"),
        ("hidden-visibility", "hidden-text"),
        ("hidden-opacity", "hidden-text"),
        ("hidden-max-height", "hidden-text"),
        ("hidden-attribute", "hidden-text"),
        ("hidden-by-sheet", "hidden-text"),
        ("nested-hiding", "hidden-text"),
        ("tiny-text", "tiny-text"),
        ("same-colour", "same-colour"),
        ("same-colour-on-dark", "same-colour"),
        ("off-screen", "off-screen"),
    ],
)
def test_hidden_text_is_kept_apart_from_what_is_seen(name: str, trick: str) -> None:
    found = read(name)
    assert found.tricks == {trick}
    assert "Buy the best pills today" in found.text.visible
    assert "gardening committee" in found.text.hidden
    assert "gardening" not in found.text.visible
    assert "gardening" not in found.text.words


@pytest.mark.parametrize(
    ("html", "trick"),
    [
        ("<span style='font-size: 0'>{}</span>", "tiny-text"),
        ("<span style='font-size : 1px; color:#333'>{}</span>", "tiny-text"),
        ("<span style='font-family: Arial; font-size: .1em'>{}</span>", "tiny-text"),
        ("<span style='font: 1px Arial'>{}</span>", "tiny-text"),
        ("<span style='font: small-caps 700 0/0 a'>{}</span>", "tiny-text"),
        ("<span style='font-size: .1mm'>{}</span>", "tiny-text"),
        ("<span style='color: transparent'>{}</span>", "same-colour"),
        ("<span style='color:rgba(0, 0, 0, 0)'>{}</span>", "same-colour"),
        ("<span style='color:#0000'>{}</span>", "same-colour"),
        ("<span style='color:#FFFFFFFF'>{}</span>", "same-colour"),
        ("<span style='color:rgb(100%, 100%, 100%)'>{}</span>", "same-colour"),
        ("<style>p.x {{ font-size: 0 }}</style><p class=x>{}</p>", "tiny-text"),
        ("<style>p {{ font: 12px Arial }} #x {{ FONT-SIZE: 1px }}</style><p id=x>{}</p>", "tiny-text"),
        ("<span style='opacity: 0%'>{}</span>", "hidden-text"),
        ("<span style='display:/* x */none'>{}</span>", "hidden-text"),
        ("<style>/* {{ */ .x {{ display: none }}</style><p class=x>{}</p>", "hidden-text"),
        ("<style><!--\n.y {{ color: red }} .x {{ display: none }}\n--></style><p class=x>{}</p>", "hidden-text"),
    ],
)  # fmt: skip
def test_hidden_text_in_other_spellings(html: str, trick: str) -> None:
    page = f"Content-Type: text/html\n\n<p>Buy pills</p>{html.format('minutes of the gardening committee')}"
    found = vector.vectorise(page.encode())
    assert found.tricks == {trick}
    assert found.text.visible == "Buy pills"
    assert "gardening" in found.text.hidden


@pytest.mark.parametrize(
    "html",
    [
        "<td style='font-size:0'><span style='font-size: 14px'>Buy pills</span></td>",
        "<td style='font-size: 0'><span style='font: bold 14px/20px Arial'>Buy pills</span></td>",
        "<td style='font-size:0'><span style='font:700 14px/1.2 Arial'>Buy pills</span></td>",
        "<td style='font-size:0'><span style='font-size: medium'>Buy pills</span></td>",
        "<td style='font-size:0'><span style='font: small-caps x-large Arial'>Buy pills</span></td>",
        "<td style='font-size:0'><span style='font-size: .5cm'>Buy pills</span></td>",
        "<style>.gap{font-size:0} .say{font-size:14px}</style><td class=gap><p class=say>Buy pills</p></td>",
        "<style>td{font-size:0} td p, h1{font:bold 14px Arial}</style><table><tr><td><p>Buy pills</p></td></tr></table>",
        "<style>.x{font-size:0} .x{font-size:14px}</style><p class=x>Buy pills</p>",
        "<style>.x{font-size:0}</style><p class=x style='font-size: 14px'>Buy pills</p>",
        "<style>@media print{.x{font-size:0}}</style><p class=x>Buy pills</p>",
        "<p style='color:#ffffff80;background:#000'>Buy pills</p>",
        "<p style='color:transparent'><span style='color:#333'>Buy pills</span></p>",
        "<p style='color:rgb(0%, 40%, 60%)'>Buy pills</p>",
        "<p style='opacity: 50%; font-size: 100%; font-weight: 400'>Buy pills</p>",
        "<style>/* .x { display: none } */ <!-- p { margin: 0 } --></style><p class=x>Buy pills</p>",
    ],
)
def test_what_can_be_read_is_not_hidden(html: str) -> None:
    found = vector.vectorise(f"Content-Type: text/html\n\n{html}".encode())
    assert found.text.visible == "Buy pills"
    assert not found.tricks
    assert not found.text.hidden


def test_a_size_of_nothing_on_the_cell_does_not_hide_text_with_its_own_size() -> None:
    assert "Really cheap" in read("tiny-text").text.visible


@pytest.mark.parametrize(
    ("name", "trick", "seen"),
    [
        ("zero-width", "zero-width", ["paypal", "account", "limited", "verify", "password"]),
        ("soft-hyphen", "zero-width", ["verify", "password"]),
        ("bidi-control", "bidi-control", ["invoicexcod"]),
        ("tag-characters", "tag-characters", ["hello", "dear", "customer"]),
        ("stacked-marks", "stacked-marks", ["casino", "bonus"]),
        ("styled-letters", "styled-letters", ["free", "cash", "click", "here"]),
        ("look-alike", "look-alike", ["paypal", "account", "log", "verify"]),
        ("look-alike-whole-word", "look-alike", ["paypa", "account"]),
        ("spaced-word", "spaced-word", ["funsite", "viagra", "cialis"]),
        ("digit-letters", "digit-letters", ["viagra", "cialis", "prescription", "rolex", "free", "cash"]),
        ("spelled-out-address", "spelled-out-address", ["plastic", "molds"]),
        ("split-by-comment", "split-by-comment", ["viagra"]),
        ("split-by-tags", "split-by-tags", ["viagra", "cialis"]),
        ("entity-coded", "entity-coded", ["viagra"]),
        ("other-plain-text", "other-plain-text", ["parcel", "customs", "fee"]),
    ],
)
def test_a_trick_is_a_feature_and_its_words_are_mended(name: str, trick: str, seen: list[str]) -> None:
    found = read(name)
    assert trick in found.tricks
    assert set(seen) <= set(found.text.words)
    assert found.dense[dense.NAMES.index(f"trick: {trick}")] == 1.0
    assert ("fact", f"trick {trick}") in {pair for pairs in found.named().personal.values() for pair in pairs}


@pytest.mark.parametrize(
    ("said", "trick"),
    [("V_I_A_G_R_A", "spaced-word"), ("buy v_i_a_g_r_a.", "spaced-word"), ("via\u0261ra", "look-alike")],
)
def test_a_word_in_disguise(said: str, trick: str) -> None:
    found = vector.vectorise(f"Content-Type: text/plain; charset=utf-8\n\n{said}".encode())
    assert "viagra" in found.text.words
    assert found.tricks == {trick}


@pytest.mark.parametrize("said", ["a_b_c_d", "x_a_b_c_d_e9", "_a_a_a_a_", "my_v_i_a", "\u0261\u026a\u02d0s"])
def test_names_of_programs_are_no_words_in_disguise(said: str) -> None:
    assert not vector.vectorise(f"Content-Type: text/plain; charset=utf-8\n\n{said}".encode()).tricks


def test_each_trick_has_a_mail() -> None:
    shown = {trick for path in MAILS.glob("*.eml") for trick in read(path.stem).tricks}
    assert shown == set(dense.TRICKS)


def test_text_of_the_decoy_is_not_taken_for_what_is_seen() -> None:
    assert "watercolours" not in read("other-plain-text").text.words


def test_subject_is_mended_too() -> None:
    assert read("zero-width").mail.subject_words == ("your", "account", "is", "limited")
    assert read("look-alike").mail.subject_words == ("your", "paypal", "account")


def test_spelled_out_addresses_are_links() -> None:
    assert [link.host for link in read("spelled-out-address").links] == [
        "moldmaker.com",
        "funsite.com",
        "funsite.net",
    ]
    assert [link.host for link in read("spaced-word").links] == ["funsite.com"]


@pytest.mark.parametrize(
    "text",
    [
        "The U.S.A.F. and the N.A.T.O. met, see section A B C of the plan. Items: a, b, c, d and e.",
        "Try x + y * z - w, or h264 and mp3 and iso8859; call 0800 123 456. Win32, i386, utf8.",
        "Жара в Москве стоит всю неделю, а мы едем на дачу.",
        "Grüße aus Köln — “schöne” Feiertage! 5 € pro Stück…",
        "これは普通のメールです。よろしくお願いします。",
        "👩‍👩‍👧 Family photos ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 flag",
        "می‌خواهم بدانم",
        "Please connect the dots . Come and see. The end . Com is short.",
    ],
)
def test_honest_writing_is_no_trick(text: str) -> None:
    raw = f"From: a@b.example\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n".encode()
    assert not vector.vectorise(raw).tricks


def test_the_line_beside_the_subject_and_a_white_button_are_no_tricks() -> None:
    html = (
        '<div style="display:none">Preview line of this letter&#847;&zwnj;&nbsp;&#847;&zwnj;</div>'
        '<table><tr><td style="background-color:#0057b8"><a href="https://shop.example.com/a" style="color:#ffffff">'
        'Read more</a></td></tr></table><td background="https://shop.example.com/x.png" style="color:#fff">Picture title</td>'
    )
    raw = f"From: a@b.example\r\nSubject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n".encode()
    found = vector.vectorise(raw)
    assert not found.tricks
    assert found.text.preheader == "Preview line of this letter"
    assert "Preview" not in found.text.visible + found.text.hidden
    assert "Read more" in found.text.visible
    assert "Picture title" in found.text.visible


def test_every_mail_of_the_folder_gives_finite_numbers() -> None:
    for path in sorted(MAILS.glob("*.eml")):
        found = vector.vectorise(path.read_bytes())
        assert np.isfinite(found.dense[: vector.DENSE_BODY]).all(), path.name
        assert vector.unpack(vector.pack(found)).personal_ids.size == found.personal_ids.size
        found.named()


@pytest.mark.parametrize(
    "piece",
    [
        "<b>",
        "<span>x",
        '<div style="color:#fff">x',
        '<div style="color:#fff">x<p style="background:#fff">y',
        "<font color=white>x",
        "<table bgcolor=white><tr><td><font color=#ffffff>x",
        '<div style="display:none">x',
        "<div hidden>x",
        "<b>a<!-- x -->",
        '<a href="http://x.example/"><div>',
    ],
)
def test_elements_within_elements_cost_by_their_number_and_not_by_its_square(piece: str) -> None:
    """Each of these once took seconds of 64 kB. CPU time, the best of three: others work here, too."""

    def cost(size: int) -> float:
        page = "Content-Type: text/html\n\n" + piece * (size // len(piece))
        raw, best = page.encode(), float("inf")
        for _ in range(3):
            began = time.process_time()
            vector.vectorise(raw)
            best = min(best, time.process_time() - began)
        return best

    assert cost(60_000) < 10 * cost(15_000) + 0.05


def test_text_is_parted_where_an_element_parts_it_and_only_there() -> None:
    page = (
        b"Content-Type: text/html\n\nv<b>i</b>agra<p>one<td>t<!-- "
        + b"x" * 200
        + b"-->wo<br>th<i></i>r<style>a{}</style>ee\nfour<div>five</div>six<x-y>se<img width=0>v<meta>en</x-y>"
        + b"<h1>ei<o:p>g<O:P></o:p></o:p>h<!--[if mso]><v:rect><w:anchorlock/></v:rect><![endif]-->t</h1>"
        + b"<svg><foreignObject>ni</foreignObject>ne</svg>"
    )
    assert vector.vectorise(page).text.visible == "viagra\nonetwo\nthree four\nfive\nsixseven\neight\nnine"


def test_a_name_that_style_sheets_do_not_know_stops_no_reading() -> None:
    """With "²" in it a selector is none; it was an error that came out of reading the mail."""
    sheet = ".a²{display:none}.aé{display:none}#ª{visibility:hidden}"
    page = f"<style>{sheet}</style><p>Hello <p class=a²>one <p class=aé>two <p id=ª>three"
    text = vector.vectorise(f"Content-Type: text/html; charset=utf-8\n\n{page}".encode()).text
    assert text.visible == "Hello\none\nthree"
    assert text.hidden == "two"


@pytest.mark.parametrize("marks", [0, 900, 1_100, 20_000])
def test_a_comment_in_a_word_is_found_behind_any_number_of_exclamation_marks(marks: int) -> None:
    page = f"Content-Type: text/html\n\n<!DOCTYPE html><p>{'!' * marks} <!-- y --> vi<!-- x -->agra".encode()
    features = vector.vectorise(page)
    assert "split-by-comment" in features.tricks
    assert features.text.words == ("viagra",)


@pytest.mark.parametrize(
    "page",
    [
        '<p title="ab<!-- ">Buy our pills now</p>',
        "<p>Buy<!-- x --!> our pills now</p>",
        "<p>Buy o<!-- x -->ur pills now</p><textarea>ab<!--</textarea>",
        "<style>p{} a<!-- </style><p>Buy our pil<!>ls now</p>",
    ],
)
def test_no_mark_of_a_comment_takes_away_what_is_seen(page: str) -> None:
    """A comment begins and ends where a mail program says so, or it hides a whole mail from us and from nobody else."""
    features = vector.vectorise(f"Content-Type: text/html\n\n{page}<p>Goodbye</p>".encode())
    assert {"buy", "our", "pills", "now", "goodbye"} <= set(features.text.words)


@pytest.mark.parametrize(
    "page",
    [
        "<body><p>Hello</p><noscript><p>Buy our <a href='http://shop.example/'>pills</a> now</p></noscript></body>",
        "<head><noscript><p>Buy our <a href='http://shop.example/'>pills</a> now</p></noscript></head><body>Hello</body>",
    ],
)
def test_what_is_shown_where_no_script_runs_is_read(page: str) -> None:
    """No mail program runs scripts, so all of them show this."""
    features = vector.vectorise(f"Content-Type: text/html\n\n<html>{page}</html>".encode())
    assert {"hello", "buy", "our", "pills", "now"} <= set(features.text.words)
    assert [link.host for link in features.links] == ["shop.example"]
    assert "hidden-text" not in features.tricks


def test_what_is_hidden_where_no_script_runs_stays_hidden() -> None:
    page = "<p>Hello</p><div style='display:none'><noscript>Buy our pills now</noscript></div><script>no words</script>"
    features = vector.vectorise(f"Content-Type: text/html\n\n{page}".encode())
    assert features.text.words == ("hello",)
    assert "hidden-text" in features.tricks
