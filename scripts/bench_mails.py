"""Mails to measure with: invented, of real structure, and varied, as no mailbox holds one mail a thousand times."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAIL = ROOT / "spamd" / "demo" / "mail"
MODERN = ROOT / "tests" / "data" / "modern_ham"
LANGUAGES = {
    "ar",
    "da",
    "de",
    "es",
    "fr",
    "it",
    "ja",
    "nl",
    "pl",
    "pt",
    "ru",
    "sv",
    "tr",
    "zh",
}  # else English


def small_mails() -> list[bytes]:
    """Modern mails of some 8 kB, invented but of real structure: receipts, notices, invitations, newsletters, letters."""
    files = sorted([*MODERN.glob("*.eml"), *(MAIL / "spam").glob("*.eml")])
    raws = [file.read_bytes() for file in files]
    return [raw for raw in raws if 5_500 < len(raw) < 11_500]


def big_mails(size: int = 38_000, count: int = 30) -> list[bytes]:
    """Modern HTML mails of about so many bytes: a head, a style sheet and the tables of several of the mails of one
    language, with a plain part beside it, quoted-printable as such mail is sent."""
    from email import message_from_bytes, policy
    from email.message import EmailMessage

    files = sorted([*MODERN.glob("*.eml"), *(MAIL / "spam").glob("*.eml")])
    letters = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    pages = [body.get_content() if (body := letter.get_body(("html",))) else "" for letter in letters]
    tongues = [next(iter(LANGUAGES & set(file.stem.split("-"))), "en") for file in files]
    chance = random.Random(size)
    out: list[bytes] = []
    for _ in range(10 * count):
        first = chance.choice([at for at, page in enumerate(pages) if "<table" in page])
        others = [at for at, page in enumerate(pages) if "<table" in page and tongues[at] == tongues[first]]
        order = [first] + [at for _ in range(20) for at in chance.sample(others, len(others))]
        letter, made = letters[first], EmailMessage()
        for name, value in letter.items():
            if not name.lower().startswith(("content-", "mime-version")) and (
                name not in made or name == "Received"
            ):
                made[name] = value
        plain = letter.get_body(("plain",))
        made.set_content(plain.get_content() if plain is not None else "-", cte="quoted-printable")
        html, end = pages[order[0]].rpartition("</body>")[::2]
        for at in order[1:]:
            if len(html) > size * 0.85 - len(made.as_bytes()):
                break
            begin = pages[at].find("<table")
            html += pages[at][begin:].rpartition("</body>")[0] if begin >= 0 else ""
        html = html[: max(1_000, int(size * 0.88) - len(made.as_bytes()))]
        made.add_alternative(f"{html}</body>{end}", subtype="html", cte="quoted-printable")
        raw = made.as_bytes(policy=policy.SMTP)
        if abs(len(raw) - size) < size / 10:  # Cyrillic or Chinese takes more bytes than was reckoned with
            out.append(raw)
        if len(out) == count:
            break
    return out


def with_attachment(size: int) -> bytes:
    head = (MAIL / "ham").glob("*receipt-en*.eml")
    raw = next(iter(sorted(head))).read_bytes()
    boundary = b"=bench="
    filler = base64.encodebytes(random.Random(1).randbytes(size * 3 // 4))
    return (
        b"From: a@b.example\r\nTo: c@d.example\r\nSubject: photos\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n--' + boundary
        + b"\r\nContent-Type: text/plain\r\n\r\n" + raw[-2000:] + b"\r\n--" + boundary
        + b"\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + filler
        + b"\r\n--" + boundary + b"--\r\n"
    )  # fmt: skip


def mixture(count: int) -> Iterator[bytes]:
    """So many mails of 9 kB in the mean: letters and notices as in the tests, one in ten of 20 kB, one in twenty of 60 kB."""
    files = sorted([*MODERN.glob("*.eml"), *MAIL.glob("*/*.eml")])
    kinds = [[file.read_bytes() for file in files], big_mails(20_000, 15), big_mails(60_000, 15)]
    dice = random.Random(7)
    for _ in range(count):
        yield dice.choice(dice.choices(kinds, [85, 10, 5])[0])
