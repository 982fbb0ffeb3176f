"""Bytes -> text in whatever charset they really are. Declared first, then UTF-8, then a guess by script."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

# What is declared and what is meant (WHATWG encoding labels; gb2312 and ks_c mail is always the larger set).
_MEANT: Final = {
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "ansi_x3.4-1968": "utf-8",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "windows-1252": "cp1252",
    "iso-8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "chinese": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ksc5601": "cp949",
    "euc-kr": "cp949",
    "korean": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso8859-8",
    "utf8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "big5": "big5hkscs",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
}
_TEXT_CODECS_NOT: Final = frozenset({"base64", "hex", "rot13", "uu", "zlib", "bz2", "quopri", "idna", "punycode", "unicode_escape",
                                     "raw_unicode_escape", "undefined", "mbcs", "oem"})  # fmt: skip
_META: Final = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)


@lru_cache(maxsize=256)
def codec(name: str) -> str | None:
    """The Python codec for a declared charset, None if there is none (or it is no text codec)."""
    name = name.strip().strip("\"'").lower()
    meant = _MEANT.get(name, name)
    if not meant or len(meant) > 40 or not meant.isascii():
        return None
    try:
        info = codecs.lookup(meant)
    except (LookupError, ValueError):
        return None
    if info.name.replace("-", "_") in _TEXT_CODECS_NOT or not getattr(info, "_is_text_encoding", True):
        return None
    return info.name


def decode(data: bytes, declared: str, *, is_html: bool) -> tuple[str, bool]:
    """Text without NULs, and whether the declared charset was right (or none was declared and none needed)."""
    right = True
    text: str | None = None
    if data.startswith(codecs.BOM_UTF8):
        data = data[3:]
        declared = "utf-8"
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        declared = "utf-16"
    if not declared and is_html and (meta := _META.search(data[:2048])):
        declared = meta[1].decode("ascii").lower()
    name = codec(declared) if declared else "utf-8"
    if name is None:
        right = False
        name = "utf-8"
    elif name.startswith(("utf-16", "utf-32")) and b"\0" not in data[:200]:
        name = "utf-8"  # a meta tag inside 8-bit text cannot be right
    try:
        text = data.decode(name)
    except (UnicodeError, ValueError, LookupError):
        text = _nearly(data, name)
        if text is None:
            right = not declared
            text = guess(data)
    if name == "utf-7":  # the one decoder that lets halves of a character through
        text = text.encode("utf-8", "replace").decode("utf-8")
    # Where characters have two bytes, every other one is 0, and the search for a NUL stops at all of them.
    has_nul = b"\0" in data if name == "utf-8" else "\0" in text
    if has_nul:
        text = text.replace("\0", "")
    return text, right


def _nearly(data: bytes, name: str) -> str | None:
    """The same charset with a few bad bytes: a cut at the end, or a stray byte in much good text."""
    try:
        text = data.decode(name, "replace")
    except (UnicodeError, ValueError, LookupError):
        return None
    bad = text.count("\ufffd")
    high = len(data) - len(data.translate(None, _HIGH))
    return text if bad * 12 <= high or (bad == 1 and text.endswith("\ufffd")) else None


_HIGH: Final = bytes(range(128, 256))
_NO_LETTERS: Final = bytes(range(65))
_KANA: Final = re.compile("[\u3040-\u30ff]")
_HANGUL: Final = re.compile("[\uac00-\ud7a3]")
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_COMMON_HAN: Final = re.compile(
    "[的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后這個來們國為時會對們請您發票公司]"
)
_CYRILLIC_LOWER: Final = re.compile("[\u0430-\u044f\u0451]")
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")


def guess(data: bytes) -> str:
    """8-bit text of unknown charset. UTF-8 if it is; else the charset whose letters look most like writing."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if b"\x1b$" in data or b"\x1b(" in data:
        text = data.decode("iso2022_jp_ext", "ignore")
        if _KANA.search(text):
            return text
    sample = data[:4096]
    high = len(sample) - len(sample.translate(None, _HIGH))
    letters = len(sample.translate(None, _NO_LETTERS))
    if high * 4 >= letters and high > 6:
        best, best_score = "cp1252", 0.0
        for name in ("gb18030", "cp932", "euc_jp", "cp949", "big5hkscs", "koi8-r", "cp1251"):
            score = _plausible(sample, name, high)
            if score > best_score:
                best, best_score = name, score
        if best_score > 0.5:
            return data.decode(best, "replace")
    return data.decode("cp1252", "replace")


def _plausible(sample: bytes, name: str, high: int) -> float:
    """0..1: how much of the 8-bit text reads as writing in this charset."""
    text = sample.decode(name, "replace")
    bad = text.count("\ufffd")
    if bad * 20 > high:
        return 0.0
    if name in ("koi8-r", "cp1251"):
        lower = len(_CYRILLIC_LOWER.findall(text))
        return 0.9 * lower / high if lower * 2 > len(_CYRILLIC.findall(text)) else 0.2
    characters = high / 2
    kana, hangul, common = (
        len(_KANA.findall(text)),
        len(_HANGUL.findall(text)),
        len(_COMMON_HAN.findall(text)),
    )
    if name in ("cp932", "euc_jp"):
        return min(1.0, 2 * kana / characters)
    if name == "cp949":
        return min(1.0, 1.2 * hangul / characters)
    return min(1.0, 4 * common / characters) if len(_HAN.findall(text)) > 0.4 * characters else 0.0
