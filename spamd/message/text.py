"""What a person sees of a mail, what is hidden from them, and the tricks that were played on the way.

HTML is read by lexbor (selectolax): linear, bounded, no recursion in Python. Each trick found is a name in
`MessageText.tricks`; the text is mended as a reader would mend it ("v1agra", "f u n s i t e . c o m", look-alikes).
"""

from __future__ import annotations

import re
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count as counting
from itertools import filterfalse, islice, repeat
from operator import add
from typing import Final, NamedTuple

from selectolax.lexbor import (
    LexborCSSSelector,
    LexborDocumentOptions,
    LexborHTMLParser,
    LexborNode,
    SelectolaxError,
)

from spamd.message.lookalikes import SKELETON
from spamd.message.parsing import ParsedMessage
from spamd.message.wordlists import listed

MAX_CHARACTERS: Final = 60_000  # of visible text that is looked at
MAX_WORDS: Final = 4_000
_MAX_STYLED: Final = 3_000  # elements whose style is looked at
_MAX_STEPS: Final = 8_000  # climbing steps for inherited colours and sizes, per mail
_MAX_ANCHORS: Final = 400
_PLAIN_TREE: Final = LexborDocumentOptions.WO_EVENTS.value
"""Without events: with them, taking an element out of the tree walks through all that is in it, and 21,000 nested ones
take two seconds."""
_MAX_PICTURES: Final = 16  # different ones: a newsletter's forty say no more of where they come from


class Anchor(NamedTuple):
    """A link, form or picture as the HTML has it. A tuple: there are hundreds in one mail."""

    kind: str  # "a", "form", "img"
    target: str
    shown: str = ""  # text inside


@dataclass(frozen=True, slots=True)
class MessageText:
    """A mail's text. `visible` has one line per block; `hidden` is what only a machine reads."""

    subject: str = ""  # mended
    visible: str = ""
    hidden: str = ""
    preheader: str = ""  # hidden, but shown beside the subject by mail programs
    tricks: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()  # lower case, mended, in order
    addresses: tuple[str, ...] = ()  # web addresses that were spelled out ("funsite.com")
    plain: str = ""  # the plain part (or the visible text where there is none): lines as written
    anchors: tuple[Anchor, ...] = ()
    tags: dict[str, int] = field(default_factory=dict)  # HTML tag -> count
    markup: int = 0  # characters of HTML source
    tiny: int = 0  # elements with text too small to read
    faint: int = 0  # elements with text of a colour that some background of the page has
    off_screen: bool = False
    invisible: int = 0  # characters of no width, of subject and text
    decoy: float = 0.0  # share of the plain alternative's words that the HTML does not show


# --- harmless text ------------------------------------------------------------------------------------------

_CONTROL: Final = {
    **dict.fromkeys((9, 10, 11, 12, 13, 133, 8232, 8233), " "),
    **dict.fromkeys((*range(9), *range(14, 32), *range(127, 133), *range(134, 160)), "�"),
    **dict.fromkeys((1564, 8206, 8207, *range(8234, 8239), *range(8294, 8298))),
    **dict.fromkeys((173, 847, 6158, 8203, 8288, *range(8289, 8293), 65279, 65529, 65530, 65531)),
    **dict.fromkeys(range(917504, 917632)),
    **dict.fromkeys(range(55296, 57344), "�"),
}


def harmless(text: str, limit: int = 1000) -> str:
    """Text for display: one line; no control, bidi or invisible characters, no lone surrogates; at most `limit`."""
    text = text[: limit * 4]
    if not text.isprintable():
        text = text.translate(_CONTROL)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


# --- styles -------------------------------------------------------------------------------------------------

HIDDEN, TINY, OFFSCREEN, COLOUR, BACKGROUND, SIZE = 1, 2, 4, 8, 16, 32
_NAMED: Final = {
    "white": 0xFFFFFF, "black": 0, "red": 0xFF0000, "blue": 0x0000FF, "green": 0x008000, "yellow": 0xFFFF00, "gray": 0x808080,
    "grey": 0x808080, "silver": 0xC0C0C0, "navy": 0x000080, "maroon": 0x800000, "purple": 0x800080, "teal": 0x008080,
    "lime": 0x00FF00, "aqua": 0x00FFFF, "cyan": 0x00FFFF, "fuchsia": 0xFF00FF, "magenta": 0xFF00FF, "olive": 0x808000,
    "orange": 0xFFA500, "snow": 0xFFFAFA, "ivory": 0xFFFFF0, "whitesmoke": 0xF5F5F5, "ghostwhite": 0xF8F8FF, "lightgrey": 0xD3D3D3,
    "lightgray": 0xD3D3D3, "gainsboro": 0xDCDCDC,
}  # fmt: skip
_TRANSPARENT: Final = -1
_UNKNOWN: Final = -2  # a picture, a gradient, a variable
_HIDES: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?<![\w-])opacity\s*:\s*(?:0(?:\.0\d*)?|\.0\d*)\s*%?\s*(?:[;!]|$)"
    r"|clip\s*:\s*rect\s*\(\s*[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?[\s,]+[01](?:px)?\s*\)"
    r"|transform\s*:\s*scale\s*\(\s*0\s*\)"
)
_NO_HEIGHT: Final = re.compile(
    r"(?:max-|(?<![\w-]))(?:height|width)\s*:\s*0*[01]?(?:\.\d*)?(?:px|pt|em|%)?\s*(?:[;!]|$)"
)
_OFF: Final = re.compile(
    r"(?<![\w-])(?:left|right|top|bottom|text-indent|margin(?:-left|-top)?)\s*:\s*-\s*\d{3,}"
)
_NEGATIVE: Final = re.compile(r":\s*-")
_SIZE: Final = re.compile(
    r"font(?:-size)?\s*:[^;]{0,60}?(?<![\w.#-])"
    r"(?:(\d{1,4}(?:\.\d{0,4})?|\.\d{1,4})\s*(px|pt|r?em|%|v[wh]|pc|in|[cm]m|ex|ch)|0{1,4}(?:\.0{0,4})?|\.0{1,4}"
    r"|((?:xx?-)?(?:small|large)|medium|smaller|larger))(?=[\s;!/]|$)"
)
"""A number with its unit, a 0, or a word: a number without unit is a weight, such as 700."""
_PIXELS: Final = {
    "em": 16, "rem": 16, "%": 0.16, "vw": 6, "vh": 6, "pt": 1.333, "pc": 16, "in": 96, "cm": 38, "mm": 3.8, "ex": 8, "ch": 8,
}  # fmt: skip
_COLOUR: Final = re.compile(r"(?<![\w-])color\s*:\s*([^;!]{1,60})")
_BACKGROUND: Final = re.compile(r"(?<![\w-])background(?:-color|-image)?\s*:\s*([^;!]{1,200})")
_RGB: Final = re.compile(
    r"rgba?\s*\(\s*(\d{1,3})(%?)[\s,]+(\d{1,3})%?[\s,]+(\d{1,3})%?(?:[\s,/]+([\d.]{1,6})%?)?\s*\)"
)
_HEX: Final = re.compile(r"#([0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})(?![0-9a-f])")


@lru_cache(maxsize=1024)
def colour(value: str) -> int | None:
    """0xRRGGBB of a CSS or HTML colour; _TRANSPARENT, _UNKNOWN, or None for no colour."""
    value = value.strip().lower()
    if found := _HEX.search(value):
        digits = found[1] if len(found[1]) > 4 else "".join(c + c for c in found[1])
        return _TRANSPARENT if digits[6:] == "00" else int(digits[:6], 16)
    if found := _RGB.search(value):
        if found[5] is not None and found[5].strip(".0") == "":
            return _TRANSPARENT
        full = 100 if found[2] else 255
        red, green, blue = (min(int(found[place]), full) * 255 // full for place in (1, 3, 4))
        return red << 16 | green << 8 | blue
    if "url" in value or "gradient" in value or "var(" in value:
        return _UNKNOWN
    for word in value.split():
        if word in _NAMED:
            return _NAMED[word]
        if word == "transparent":
            return _TRANSPARENT
    if len(value) == 6 and all(c in "0123456789abcdef" for c in value):
        return int(value, 16)
    return None


class _Style(NamedTuple):
    flags: int
    colour: int | None = None
    background: int | None = None


def _hides(css: str) -> int:
    """HIDDEN and OFFSCREEN, as far as a lower-case declaration says so. Most say nothing of the kind, and a plain
    search tells that several times faster than the patterns."""
    flags = 0
    hidden = "hidden" in css
    if (
        hidden or "none" in css or "opacity" in css or "clip" in css or "scale" in css or "collapse" in css
    ) and (_HIDES.search(css) or (hidden and "overflow" in css and _NO_HEIGHT.search(css))):
        flags |= HIDDEN
    if _NEGATIVE.search(css) and _OFF.search(css):
        flags |= OFFSCREEN
    return flags


def search(pattern: re.Pattern[str], begin: str, text: str) -> re.Match[str] | None:
    """pattern.search(text) for a pattern that looks behind itself and then wants `begin`; searched for, it would try
    each letter."""
    at = text.find(begin)
    while at >= 0:
        if found := pattern.match(text, at):
            return found
        at = text.find(begin, at + 1)
    return None


@lru_cache(maxsize=2048)
def _style(css: str) -> _Style:
    css = css.lower()
    if "/*" in css:
        css = _SHEET_COMMENT.sub("", css)
    flags = _hides(css)
    if "font" in css and (sized := _SIZE.search(css)):
        flags |= SIZE
        if sized[3] is None and float(sized[1] or 0) * _PIXELS.get(sized[2], 1.0) < 4:
            flags |= TINY
    fore = back = None
    if "color" in css or "background" in css:
        if found := search(_COLOUR, "color", css):
            fore = colour(found[1])
            if fore is not None:
                flags |= COLOUR
        at = css.find("background")
        while at >= 0:
            found = _BACKGROUND.match(css, at)
            if found:
                value = colour(found[1])
                if value is not None and value != _TRANSPARENT and back != _UNKNOWN:
                    back = value
            at = css.find("background", found.end() if found else at + 1)
        if back is not None:
            flags |= BACKGROUND
    return _Style(flags, fore, back)


@lru_cache(maxsize=1024)
def _alike(one: int, other: int) -> bool:
    """Whether text of one colour cannot be read on the other. What lies on a picture can, but for glass."""
    return one == _TRANSPARENT or (
        other >= 0
        and abs((one >> 16) - (other >> 16))
        + abs((one >> 8 & 255) - (other >> 8 & 255))
        + abs((one & 255) - (other & 255))
        <= 30
    )


# --- HTML ---------------------------------------------------------------------------------------------------

_APART_TAGS: Final = listed(
    """address article aside blockquote body br caption center col colgroup dd dir div dl dt fieldset figcaption figure
    footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe legend li main menu nav
    ol optgroup option p pre section select style table tbody td textarea tfoot th thead title tr ul"""
)
"""Elements that part text: what stands before, in and after them is not one word. A picture of no size does not."""
_MAX_WITHIN: Final = 100  # different other elements that are taken out of the lines they stand in
_BREAK: Final = " \x02 "  # between two pieces of text that an element parts
_TAG: Final = re.compile(r"<([a-zA-Z][a-zA-Z0-9_:.-]{0,99})")
_COMMENT: Final = re.compile(r"<!(?:--)?[^>]{0,100}>(?=[a-zA-Z])")
_UNSEEN: Final = ("script", "style", "template", "object")
"""Nothing of these is shown. What stands in <noscript> is: mail is read without scripts."""
_INLINE: Final = ("b", "i", "u", "em", "font", "span", "strong", "small", "big")
_EMPTY_BEFORE: Final = re.compile(
    r"[a-zA-Z]<(?:b|i|u|em|font|span|strong|small|big)(?:\s[^<>]{0,100})?$", re.I
)
_EMPTY_END: Final = re.compile(r"></(?:b|i|u|em|font|span|strong|small|big)>(?=[^\W_])")
_MADE_UP: Final = re.compile(r"</?([a-zA-Z]{5,15})>(?=[a-zA-Z])")
_ENTITY: Final = re.compile(
    r"&#(?:[xX]0*[4-7][0-9a-fA-F]|0*(?:6[5-9]|[7-9]\d|1[01]\d|12[0-2]));?"
    r"(?:&#(?:[xX]0*[4-7][0-9a-fA-F]|0*(?:6[5-9]|[7-9]\d|1[01]\d|12[0-2]));?){3}"
)
_REAL_TAGS: Final = listed(
    """abbr acronym address applet article aside audio basefont blockquote button canvas caption center cite code
    colgroup datalist details dialog embed fieldset figcaption figure footer frame frameset header hgroup iframe image
    input label legend listing marquee meter noframes noscript object optgroup option output param picture plaintext
    progress samp script search section select small source span strike strong style summary table tbody template
    textarea tfoot thead title track video"""
)
_AFTER_LAST: Final = re.compile(r"[{@;]")
_SHEET_COMMENT: Final = re.compile(r"/\*.*?\*/|<!--|-->", re.S)
_SIMPLE_SELECTOR: Final = re.compile(r"^[a-z]*(?:[.#][a-zA-Z_][\w-]{0,60}){1,3}$")


_MAX_PREHEADER: Final = 300
_HIDING: Final = frozenset({"hidden-text", "tiny-text", "same-colour", "off-screen"})
_MARK: Final = re.compile("\x1f([0-9]+)\x1e")
_FILLERS: Final = re.compile("[\u034f\u200b-\u200e\u2007\u2060\xa0\xad\ufeff\u180e\u115f\u1160]+")


def _unfilled(text: str) -> str:
    """Without the characters that newsletters fill the line beside the subject up with."""
    return (
        text if text.isascii() else _without(_FILLERS, text, _beyond_ascii(text.encode("utf-8", "replace")))
    )


def _mark(text: str) -> str:
    """Something that the text does not hold."""
    taken = set(_MARK.findall(text)) if "\x1f" in text else ()
    number = next(number for number in map(str, counting()) if number not in taken)
    return f"\x1f{number}\x1e"


class _Queries(threading.local):
    """CSS queries. A tree's own .css() makes an engine for each tree, which takes longer than to ask it all we ask of
    8 kB; one engine serves all trees of a thread."""

    def __init__(self) -> None:
        self.find = LexborCSSSelector().find  # type: ignore[no-untyped-call]


_queries: Final = _Queries()


@lru_cache(maxsize=256)
def _tag(name: str) -> str:
    """An element's name as it is counted, from what stands behind "<": up to the first that is neither letter nor
    digit."""
    return re.split(r"[^a-z0-9]", name.lower(), maxsplit=1)[0]


class _Page:
    """One HTML document being read."""

    __slots__ = (
        "anchors",
        "commented",
        "declared",
        "faint",
        "fores",
        "grounds",
        "hidden",
        "hidden_nodes",
        "off_screen",
        "pictured",
        "preheader",
        "steps",
        "tags",
        "tiny",
        "tricks",
        "within",
    )

    def __init__(self, tricks: set[str]) -> None:
        self.tricks = tricks
        self.hidden = ""
        self.preheader = ""
        self.hidden_nodes: dict[int, LexborNode] = {}
        self.tiny = self.faint = 0
        self.off_screen = False
        self.anchors: list[Anchor] = []
        self.tags: dict[str, int] = {}
        self.commented = False  # a comment stands behind a letter
        self.within: list[str] = []  # elements that part no text
        self.steps = 0
        self.pictured: list[_Styled] = []  # elements on a picture
        self.declared: dict[int, _Style] = {}  # element -> what it declares itself
        self.grounds: dict[int, int] = {}  # element -> the background it lies on
        self.fores: dict[int, int | None] = {}  # element -> the colour of its text

    def read(self, html: str) -> str:
        counted = Counter(_TAG.findall(html))
        names = "".join(counted)
        capitals = bool(counted) and not names.islower()
        self.tags = counted
        self.within = [tag for tag in counted if tag not in _APART_TAGS]
        if capitals or not names.isalnum():
            self.tags = {}
            for name, count in counted.items():
                tag = _tag(name)
                self.tags[tag] = self.tags.get(tag, 0) + count
            self.within = [name for name in dict.fromkeys(map(str.lower, counted)) if name not in _APART_TAGS]
        self._split_words(html)
        tree = LexborHTMLParser(html, options=_PLAIN_TREE)
        body = tree.body
        if body is None:
            return ""
        if self.commented:  # nobody sees them, so they part no word; where each ends, only the parser knows
            for node in [one for one in body.traverse(include_text=True) if one.is_comment_node]:
                node.decompose()
        sheet = _sheets(html, self._count_of("style"), capitals) if "style" in self.tags else ""
        if (head := tree.head) is not None:
            head.decompose(recursive=False)
        if unseen := [tag for tag in _UNSEEN if tag in self.tags]:
            tree.strip_tags(unseen)
        find, root = _queries.find, tree.root or body
        self._links(find, root)
        # Each different style is looked at once, and of the elements only those whose style hides or may hide.
        nodes = find("[style]", root)[:_MAX_STYLED]
        declared = [node.attrs["style"] or "" for node in nodes]
        hiding: dict[str, str] = {}
        looks: dict[str, _Style] = {}
        for css, times in Counter(declared).items():
            style = _style(css[:600])
            flags = style.flags
            if flags & TINY:
                self.tiny += times
            if flags & (HIDDEN | OFFSCREEN):
                hiding[css] = "hidden-text" if flags & HIDDEN else "off-screen"
                self.off_screen = self.off_screen or flags & OFFSCREEN > 0
            elif flags:
                looks[css] = style
        if hiding:
            for node, css in [found for found in zip(nodes, declared, strict=True) if found[1] in hiding]:
                self._hide(node, hiding[css])
        more = self.pictured
        if "font" in self.tags:
            for node in find("font[color], font[size]", root)[:_MAX_STYLED]:
                style = _font(node.attrs.sget("color", ""), node.attrs.sget("size", ""))
                self.tiny += style.flags & TINY > 0
                more.append((node, style))
        grounds = find("[bgcolor]", root)[:_MAX_STYLED]
        if grounds and any(map(html.__contains__, _BGCOLOR)):
            for node in grounds:
                back = colour(node.attrs.sget("bgcolor", ""))
                if back is not None and back >= 0:
                    more.append((node, _ground_style(back)))
        for node in find("[hidden]", root)[:200]:
            self._hide(node, "hidden-text")
        if sheet:
            self._sheet(find, root, sheet)
            # The last rule comes first: what an element has already prevails.
            for selector, style in reversed(_sizing_rules(sheet[:30_000])):
                with suppress(SelectolaxError):
                    more += [(node, style) for node in find(selector, root)[:200]]
        if looks or more:
            self._hide_unreadable(nodes, declared, looks, more)
        return self._seen(body) if self.hidden_nodes else self._lines(body)

    def _lines(self, body: LexborNode) -> str:
        """All text, in one line what no element parts: elements within lines are taken out first."""
        if within := frozenset(self.within[:_MAX_WITHIN]):
            # Asked for by name, each that the tree has no element of would be looked up again at each element, and most
            # mail names such ones in comments to Word.
            stays: dict[int, bool] = {}
            for node in _queries.find("*", body):
                kind = node.tag_id
                if kind not in stays:
                    stays[kind] = (node.tag or "").lower() not in within
                if not stays[kind]:
                    node.unwrap(delete_empty=True)
        body.merge_text_nodes()
        return body.text(separator=_BREAK, skip_empty=True)

    def _count_of(self, begin: str) -> int:
        """How often "<" and these letters come."""
        return sum([count for tag, count in self.tags.items() if tag.startswith(begin)])

    def _seen(self, body: LexborNode) -> str:
        """The text that is not hidden. What is hidden before it begins, if short, is the line that mail programs
        show beside the subject: every honest newsletter has one."""
        # Marks around what is hidden, then the text as a whole: far fewer steps than to walk through all of it.
        mark = _mark(body.text())
        for node in self.hidden_nodes.values():
            node.replace_with(f"{mark}{node.text_content}{mark}")
        pieces = self._lines(body).split(mark)
        seen, hidden = pieces[::2], pieces[1::2]
        begun = next((at for at, piece in enumerate(seen) if piece.strip(_BREAK)), len(seen))
        first = _in_lines(_unfilled(_BREAK.join(hidden[:begun])))
        if len(first) > _MAX_PREHEADER:
            begun = 0
        else:
            self.preheader = first
        self.hidden = _BREAK.join(hidden[begun:])
        if not _unfilled(self.hidden).strip():
            self.tricks -= _HIDING
        return "".join(seen)

    def _split_words(self, html: str) -> None:
        """Words cut in two by markup that shows nothing, and letters written as numbers."""
        self.commented = any(at and html[at - 1].isalpha() for at in _declarations(html))
        if self.commented:
            for match in islice(_COMMENT.finditer(html), 500):
                if html[match.start() - 1 : match.start()].isalpha():
                    self.tricks.add("split-by-comment")
                    break
        if not self.tags.keys().isdisjoint(_INLINE) and _EMPTY_END.search(html):
            for tag in _INLINE:
                if tag in self.tags and self._empty_inside(html, f"></{tag}>"):
                    self.tricks.add("split-by-tags")
                    break
        if any(len(tag) > 4 and tag.isalpha() for tag in self.tags.keys() - _REAL_TAGS):
            for match in islice(_MADE_UP.finditer(html), 2000):
                if match[1].lower() not in _REAL_TAGS and html[match.start() - 1 : match.start()].isalpha():
                    self.tricks.add("split-by-tags")
                    break
        if _ENTITY.search(html):
            self.tricks.add("entity-coded")

    @staticmethod
    def _empty_inside(html: str, end: str) -> bool:
        """Whether an element without text stands inside a word: vi<b></b>agra."""
        at = _find(html, end, 0)
        for _ in range(500):
            if at < 0:
                return False
            after = at + len(end)
            if html[after : after + 1].isalpha() and _EMPTY_BEFORE.search(html, max(0, at - 120), at):
                return True
            at = _find(html, end, after)
        return False

    def _hide(self, node: LexborNode, trick: str) -> None:
        """All text inside is hidden."""
        said = False
        for inner in node.traverse(include_text=True):
            self.steps += 1
            if self.steps > _MAX_STEPS:
                self.tricks.add("too much hiding")
                return
            if inner.is_text_node and inner.mem_id not in self.hidden_nodes:
                text = inner.text_content or ""
                self.hidden_nodes[inner.mem_id] = inner
                if not said and text and not text.isspace():
                    said = len(_unfilled(text).strip()) > 2
        if said:
            self.tricks.add(trick)

    def _hide_unreadable(
        self, nodes: list[LexborNode], declared: list[str], looks: dict[str, _Style], more: list[_Styled]
    ) -> None:
        """Hide text that is too small, or of the colour it lies on.

        `nodes` have these `declared` styles, of which `looks` tells what matters; `more` is what elements declare in
        other ways, which a style overrides. Text is of the colour of the nearest element that declares one, and so is
        its background. So only two kinds of elements begin such text: those that declare a colour on a background
        like it, and those that declare a background like the colour around it.
        """
        styles = [*looks.values(), *{id(style): style for _, style in more}.values()]
        backs = {
            style.background for style in styles if style.background is not None and style.background >= 0
        }
        backs = {0xFFFFFF, *list(backs)[:50]}
        fores = {style.colour for style in styles if style.colour is not None and style.colour != _UNKNOWN}
        faint = {fore for fore in fores for back in backs if _alike(fore, back)}
        if not faint and not any(style.flags & TINY for style in styles):
            return
        lost = {back for back in backs for fore in faint if _alike(fore, back)}

        def begins(style: _Style) -> bool:
            return (
                style.flags & TINY > 0
                or style.colour in faint
                or (style.background in lost and not style.flags & COLOUR)
            )

        begin = {css: style for css, style in looks.items() if begins(style)}
        pairs = list(zip(nodes, declared, strict=True))
        tops = [(node, style) for node, css in pairs if (style := begin.get(css))]
        tops += [top for top in more if begins(top[1])]
        own = self.declared
        own |= {node.mem_id: style for node, css in pairs if (style := looks.get(css))}
        for node, style in more:
            above = own.setdefault(node.mem_id, style)
            if above is not style:
                own[node.mem_id] = _merged(above, style)
        for node, style in tops:
            if style.flags & TINY and own[node.mem_id].flags & TINY:
                self._hide_inherited(node, SIZE, "tiny-text", None)
            fore, back = style.colour, style.background
            if fore is not None and fore in faint:
                self.faint += 1
                if _alike(fore, self._ground(node)):
                    self._hide_inherited(node, COLOUR, "same-colour", fore)
            elif back is not None and back in lost and not style.flags & COLOUR:
                fore = self._fore(node)
                if fore is not None and fore in faint and _alike(fore, back):
                    self._hide_inherited(node, COLOUR, "same-colour", fore)

    def _hide_inherited(self, top: LexborNode, what: int, trick: str, fore: int | None) -> None:
        """Text inside that takes its size or colour from `top` or what lies around it is hidden; a nearer element may
        have its own."""
        hidden, declared = self.hidden_nodes, self.declared
        free = {top.mem_id: True}  # element -> whether neither it nor one between it and the top has its own
        said = False
        for inner in top.traverse(include_text=True):
            self.steps += 1
            if self.steps > _MAX_STEPS:
                break
            if not inner.is_text_node or inner.mem_id in hidden:
                continue
            text = inner.text_content
            if not text or text.isspace():
                continue
            climbed: list[int] = []
            above = inner.parent
            while above is not None and (name := above.mem_id) not in free:
                climbed.append(name)
                if (style := declared.get(name)) is not None and style.flags & what:
                    free[name] = False
                    break
                above = above.parent
            inherits = above is not None and free[above.mem_id]
            free.update(dict.fromkeys(climbed, inherits))
            self.steps += len(climbed)
            if not inherits or (fore is not None and not _alike(fore, self._ground(inner.parent))):
                continue
            hidden[inner.mem_id] = inner
            said = said or len(_unfilled(text).strip()) > 2
        if said:
            self.tricks.add(trick)

    def _ground(self, node: LexborNode | None) -> int:
        """The background an element lies on: white where none is declared; _UNKNOWN: a picture."""
        grounds, declared = self.grounds, self.declared
        climbed: list[int] = []
        found = 0xFFFFFF
        while node is not None:
            name = node.mem_id
            if (known := grounds.get(name)) is not None:
                found = known
                break
            climbed.append(name)
            if (style := declared.get(name)) is not None and style.background is not None:
                found = style.background
                break
            node = node.parent
        self.steps += len(climbed)
        for name in climbed:
            grounds[name] = found
        return found

    def _fore(self, node: LexborNode | None) -> int | None:
        """The colour of text in an element, None if none is declared."""
        fores, declared = self.fores, self.declared
        climbed: list[int] = []
        found: int | None = None
        while node is not None:
            name = node.mem_id
            if name in fores:
                found = fores[name]
                break
            climbed.append(name)
            if (style := declared.get(name)) is not None and style.flags & COLOUR:
                found = style.colour
                break
            node = node.parent
        self.steps += len(climbed)
        for name in climbed:
            fores[name] = found
        return found

    def _sheet(self, find: _Find, root: LexborNode, sheet: str) -> None:
        """Hide what the style sheet hides on every screen."""
        for selector in _hiding_selectors(sheet[:30_000]):
            try:
                found = find(selector, root)[:50]
            except SelectolaxError:  # "²" stands in no name of CSS: mail programs leave such a rule out, too
                continue
            for node in found:
                own = node.attrs.sget("style", "")
                if own and "display" in own and not _style(own[:600]).flags & HIDDEN:
                    continue
                self._hide(node, "hidden-text")

    def _links(self, find: _Find, root: LexborNode) -> None:
        wanted = [selector for tag, selector in _LINKING.items() if tag in self.tags]
        anchors = self.anchors
        known: dict[str, int] = {}  # target -> its place among the anchors
        pictures = 0
        for node in find(", ".join([*wanted, "[background]"]), root)[:_MAX_ANCHORS]:
            tag = node.tag
            if tag == "a" or tag == "area":
                target = node.attrs.sget("href", "")[:2048]
                shown = node.text()[:300].strip()
                place = known.setdefault(target, len(anchors))
                if place == len(anchors):
                    anchors.append(_tuple(Anchor, ("a", target, shown)))
                elif "." in shown and "." not in anchors[place].shown:
                    # Of several links to one place the one that may name a host tells most.
                    anchors[place] = Anchor("a", target, shown)
            elif tag == "form":
                anchors.append(Anchor("form", node.attrs.sget("action", "")[:2048]))
            else:
                target = node.attrs.sget("src", "")
                if not target:
                    target = node.attrs.sget("background", "")
                    self.pictured.append((node, _PICTURE))
                if pictures < _MAX_PICTURES and "img " + target not in known:
                    known["img " + target] = -1
                    pictures += 1
                    anchors.append(_tuple(Anchor, ("img", target[:2048], "")))


_LINKING: Final = {"a": "a[href]", "area": "area[href]", "form": "form[action]", "img": "img[src]"}
_BGCOLOR: Final = ("bgcolor", "BGCOLOR", "bgColor", "BgColor")  # as people write it
_PICTURE: Final = _Style(0, None, _UNKNOWN)
_Styled = tuple[LexborNode, _Style]
_Find = Callable[[str, LexborNode], list[LexborNode]]
_tuple = tuple.__new__  # a NamedTuple made without its own, slower __new__


@lru_cache(maxsize=512)
def _font(color: str, size: str) -> _Style:
    """What <font color size> declares."""
    flags = 0
    fore = colour(color) if color else None
    if fore is not None:
        flags |= COLOUR
    if size:
        flags |= SIZE
        if size.strip() in ("0", "-7", "-6", "-5"):
            flags |= TINY
    return _Style(flags, fore)


@lru_cache(maxsize=256)
def _ground_style(back: int) -> _Style:
    """What bgcolor declares."""
    return _Style(0, None, back)


def _merged(one: _Style, other: _Style) -> _Style:
    """What an element declares in two ways, of which the first prevails."""
    flags = other.flags & ~(SIZE | TINY) if one.flags & SIZE else other.flags
    back = one.background if one.background is not None else other.background
    return _Style(one.flags | flags, one.colour if one.colour is not None else other.colour, back)


def _find(html: str, what: str, at: int) -> int:
    """str.find, faster in long texts: there it prepares tables for six letters and more."""
    begin = what[:5]
    while (at := html.find(begin, at)) >= 0 and not html.startswith(what, at):
        at += 1
    return at


def _declarations(html: str) -> Iterator[int]:
    """Where "<!" stands. One letter is found several times faster than two, if there are not too many of it."""
    at = html.find("!")
    for _ in range(1_000):
        if at < 0:
            return
        if at and html[at - 1] == "<":
            yield at - 1
        at = html.find("!", at + 1)
    at = html.find("<!", at - 1) if at > 0 else -1
    while at >= 0:
        yield at
        at = html.find("<!", at + 2)


def _sheets(html: str, most: int, capitals: bool) -> str:
    """Contents of the <style> elements: at most so many, perhaps in capitals."""
    found: list[str] = []
    end = 0
    for _ in range(min(20, most)):
        start = _find(html, "<style", end)
        if start < 0 and capitals:
            start = _find(html, "<STYLE", end)
        opened = html.find(">", start) if start >= 0 else -1
        if opened < 0:
            break
        end = html.find("</", opened)
        found.append(html[opened + 1 : end if end >= 0 else len(html)])
        if end < 0:
            break
    return "\n".join(found)


@lru_cache(maxsize=128)
def _hiding_selectors(sheet: str) -> tuple[str, ...]:
    """Simple selectors of rules that hide, outside @media. Remembered: letters of one sender share their sheet."""
    lowered = sheet.lower()
    if "none" not in lowered and "hidden" not in lowered and not _OFF.search(lowered):
        return ()
    found: list[str] = []
    for selectors, declared in _rules(sheet):
        if _hides(declared):
            found += filter(_SIMPLE_SELECTOR.match, selectors)
    return tuple(dict.fromkeys(found))[:40]


@lru_cache(maxsize=128)
def _sizing_rules(sheet: str) -> tuple[tuple[str, _Style], ...]:
    """Rules that give text a size, if one of them makes it too small to read: (selector, size). Else none: what is readable
    may stand inside what is not, and only then needs asking for."""
    if "font" not in sheet.lower():
        return ()
    found: list[tuple[str, _Style]] = []
    for selectors, declared in _rules(sheet):
        if "font" in declared and (flags := _style(declared).flags & (SIZE | TINY)):
            found += [(name, _Style(flags)) for name in selectors if ":" not in name]
    return tuple(found[:60]) if any(style.flags & TINY for _, style in found) else ()


def _rules(sheet: str) -> Iterator[tuple[list[str], str]]:
    """Selectors and declarations, these in lower case, of the first 200 rules outside @media."""
    if "/*" in sheet or "<!--" in sheet or "-->" in sheet:
        sheet = _SHEET_COMMENT.sub(" ", sheet)
    if "@" in sheet:
        sheet = _without_media(sheet)
    rules = 0
    pieces = sheet.split("}")
    del pieces[-1]
    for piece in pieces:
        before, brace, declared = piece.rpartition("{")
        if not brace or len(declared) > 500:
            continue
        selectors = _AFTER_LAST.split(before[-200:])[-1]
        if not selectors:
            continue
        yield [name for one in selectors.split(",")[:8] if (name := one.strip())], declared.lower()
        rules += 1
        if rules == 200:
            break


def _without_media(sheet: str) -> str:
    """A style sheet without its @ blocks, by counting braces."""
    out: list[str] = []
    at = 0
    while (start := sheet.find("@", at)) >= 0:
        out.append(sheet[at:start])
        brace = sheet.find("{", start)
        semicolon = sheet.find(";", start)
        if brace < 0 or 0 <= semicolon < brace:
            at = semicolon + 1 if semicolon >= 0 else len(sheet)
            continue
        level, at = 1, brace + 1
        while level and at < len(sheet):
            opening, closing = sheet.find("{", at), sheet.find("}", at)
            if closing < 0:
                at = len(sheet)
            elif 0 <= opening < closing:
                level, at = level + 1, opening + 1
            else:
                level, at = level - 1, closing + 1
    out.append(sheet[at:])
    return "".join(out)


# --- letters ------------------------------------------------------------------------------------------------

_STRANGE: Final = re.compile(
    "[\u00ad\u0251\u0261\u0269\u0300-\u036f\u0370-\u058f\u061c\u115f\u1160\u13a0-\u13ff\u1400-\u167f\u180e\u1d00-\u1d7f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2100-\u214f\u2460-\u24ff\u2c80-\u2cff\u2d30-\u2d7f\u3164\ua4d0-\ua4ff\uab30-\uabbf\ufe00-\ufe0f"
    "\ufeff\uff00-\uffef\U00010280-\U000104ff\U000118a0-\U000118ff\U0001d400-\U0001d7ff\U0001f100-\U0001f1ff\U000e0000-\U000e007f]"
)
_ZERO_WIDTH: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]+"
)
_ZERO_WIDTH_IN_WORD: Final = re.compile(
    "[A-Za-z0-9\u00c0-\u024f][\u034f\u115f\u1160\u180e\u200b-\u200d\u2060-\u2064\u3164\ufeff\uffa0]+[A-Za-z0-9\u00c0-\u024f]"
)
_SOFT_HYPHEN_IN_WORD: Final = re.compile("[A-Za-z]\u00ad+[A-Za-z]\u00ad*[A-Za-z]?\u00ad")
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_OVERRIDE: Final = re.compile("[\u202d\u202e]")
_TAG_CHARACTERS: Final = re.compile("[\U000e0000-\U000e007f]")
_FLAG_TAGS: Final = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")
_STACKED: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u20d0-\u20ff]{3,}|(?:[A-Za-z][\u0300-\u036f\u20d0-\u20ff]){4,}"
)
_COMBINING: Final = re.compile("[\u0300-\u036f\u20d0-\u20ff]+")
_STYLED_ONE: Final = re.compile(
    "[\U0001d400-\U0001d7ff\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189\uff21-\uff3a\uff41-\uff5a\u1d00-\u1d25]"
)
_STYLED: Final = re.compile(_STYLED_ONE.pattern + "{2,}")
_WIDE_SCRIPT: Final = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]")
_LOOKS: Final = frozenset(map(chr, SKELETON))
_LIKE_LATIN: Final = "[\u0370-\u058f\u13a0-\u167f\u1d00-\u1d7f\u0251\u0261\u0269\u2c80-\u2cff\ua4d0-\ua4ff]"
_MIXED: Final = re.compile(
    f"(?=[^\\W\\d_]{{0,39}}[A-Za-z])(?=[^\\W\\d_]{{0,39}}{_LIKE_LATIN})[^\\W\\d_]{{2,40}}"
)
# Where a word is mixed, a letter of ASCII stands beside another one. This is searched for in a third of the time, and
# most mail in Cyrillic or Greek holds nothing of the kind.
_MIXES: Final = re.compile(f"[A-Za-z](?:[^\\W\\d_A-Za-z]|{_LIKE_LATIN})|[^\\W\\d_A-Za-z][A-Za-z]")
_LOOK_WORD: Final = re.compile("[\u0370-\u052f]{4,40}")
_REAL_CYRILLIC: Final = re.compile("[бвгджзийлнптфцчшщъыьэюяБГДЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯ]")
_REAL_GREEK: Final = re.compile("[δεζηθλμξπςσφχψωΔΘΛΞΠΣΦΨΩά-ώ]")


_ASCII: Final = bytes(range(128))


def _beyond_ascii(encoded: bytes) -> set[str]:
    """Which characters beyond ASCII a text in UTF-8 holds: mostly some ten different ones."""
    return set(encoded.translate(None, _ASCII).decode("utf-8"))


def _without(unwanted: re.Pattern[str], text: str, beyond: Iterable[str]) -> str:
    """A text without some of the characters beyond ASCII that it holds: newsletters fill lines up with hundreds of
    them, and one after the other by the pattern they take several times as long."""
    for letter in filter(unwanted.match, beyond):
        text = text.replace(letter, "")
    return text


def mend(text: str, tricks: set[str]) -> tuple[str, int]:
    """Undo what was done to the letters: characters of no width out (and how many), styled letters and look-alikes back
    to ASCII."""
    invisible = 0
    if text.isascii():
        return text, invisible
    beyond = "".join(_beyond_ascii(text.encode("utf-8", "replace")))
    if not _STRANGE.search(beyond):
        return text, invisible
    if _TAG_CHARACTERS.search(beyond):
        if _TAG_CHARACTERS.search(_FLAG_TAGS.sub("", text)):
            tricks.add("tag-characters")
        text = _without(_TAG_CHARACTERS, text, beyond)
    if _ZERO_WIDTH.search(beyond):
        if _ZERO_WIDTH_IN_WORD.search(text) or _SOFT_HYPHEN_IN_WORD.search(text):
            tricks.add("zero-width")
        shown = _without(_ZERO_WIDTH, text, beyond)
        invisible, text = len(text) - len(shown), shown
    if _BIDI.search(beyond):
        if _OVERRIDE.search(beyond):
            tricks.add("bidi-control")
        text = _without(_BIDI, text, beyond)
    if _COMBINING.search(beyond) and _STACKED.search(text):
        tricks.add("stacked-marks")
        text = _without(_COMBINING, text, beyond)
    if _STYLED_ONE.search(beyond) and _STYLED.search(text):
        if not _WIDE_SCRIPT.search(text):
            tricks.add("styled-letters")
        text = unicodedata.normalize("NFKC", text)
    if _LOOKS.isdisjoint(beyond):
        return text, invisible

    def ascii_letters(match: re.Match[str]) -> str:
        skeleton = match[0].translate(SKELETON)
        if not skeleton.isascii():
            return match[0]
        tricks.add("look-alike")
        return skeleton

    if _MIXES.search(text):
        lines = [
            _MIXED.sub(ascii_letters, line) if _MIXES.search(line) else line for line in text.split("\n")
        ]
        text = "\n".join(lines)
    # A word all of look-alikes ("рауре" for "paype"): only where the language itself is not written here.
    if _LOOK_WORD.search(text) and not (_REAL_CYRILLIC.search(text) or _REAL_GREEK.search(text)):
        text = _LOOK_WORD.sub(ascii_letters, text)
    return text, invisible


_SPACED: Final = re.compile(r"(?<![\w.])[^\W\d_](?:[ .\-*_|/+~·•]{1,3}[^\W\d_]){3,40}(?!\w)")
_UNDERSCORED: Final = re.compile(r"(?<!\w)[^\W\d_](?:_[^\W\d_]){3,40}(?!\w)")
_SPELLED: Final = re.compile(
    r"(?<![\w.@])(?:www\.)?([a-z0-9][a-z0-9-]{1,40})(?:\s?[\[({<（]\s?(?:\.|dot|punkt|point|@)\s?[\])}>）]\s?\.?|\s(?:\.|dot)\s)(com|net|org|info|biz|ru|cn|de|co|us|uk|shop|top|xyz|site|online|club|live|vip|icu)(?!\w)",
    re.I,
)
_BRACKET: Final = frozenset("[({<（")
_DOTS: Final = (" dot ", "dot)", "dot]")
_BRACKETED: Final = ("(.)", "[.]", "(@)", "[@]")
_DISGUISE: Final = re.compile(r"[@$|!](?=[a-zA-Z])")
_DISGUISED_RUN: Final = re.compile(r"[a-z0134578@$!|]{1,20}")
_PLAIN_LETTER: Final = str.maketrans("013457@$!|8", "oieastasiib")
_PLAIN_LETTER_L: Final = str.maketrans("013457@$!|8", "oleastaslib")
# Words that are disguised for a filter's sake; kept to those that honest mail does not write with digits.
_OFTEN_DISGUISED: Final = listed(
    """viagra cialis levitra xanax valium ambien phentermine pharmacy pharma pills pill drugs medication penis
    sex sexy sexual erection mortgage casino rolex replica watches watch refinance loan loans credit
    bitcoin crypto free money cash click porn pornstar girls nude webcam dating winner lottery prize
    offer discount cheap cheapest account password verify paypal amazon apple microsoft netflix security
    bank invoice payment update confirm login weight loss diet enlargement enlarge prescription doctor
    online order hydrocodone vicodin tramadol soma adult teens investment profit income casinos pokies
    bonus sale deal deals office software adobe windows unsubscribe remove guaranteed million"""
)


_LETTER_OR_DIGIT: Final = bytes(
    48
    if chr(code).isdigit() and code < 128
    else 97
    if chr(code).isalpha() or code > 127 or code == 95
    else 32
    for code in range(256)
)
_FOUR_SINGLES: Final = b"\1\1\1\1"
_SEPARATOR: Final = re.compile(r"[ .\-*_|/+~·•]")
_APART: Final = (" ", ".", "-", "*", " . ", " - ", "|", "/", "+", "~", "·", "•", "  ", ". ", " * ", "_")


def _letters_apart(lowered: str, letters: str, start: int) -> int:
    """Where these letters stand one by one, parted by the same mark; -1 if nowhere."""
    found = [at for mark in _APART if (at := lowered.find(mark.join(letters), start)) >= 0]
    return min(found, default=-1)


def _disguises(lowered: str, encoded: bytes) -> list[int]:
    """Where a mark that may stand for a letter stands before a letter."""
    marks = [mark for mark in b"@$|!" if mark in encoded]
    if not marks:
        return []
    if sum(map(encoded.count, marks)) > 8:
        return [match.start() for match in islice(_DISGUISE.finditer(lowered), 200)]
    found: list[int] = []
    for mark in map(chr, marks):
        at = lowered.find(mark)
        while at >= 0:
            if "a" <= lowered[at + 1 : at + 2] <= "z" or "A" <= lowered[at + 1 : at + 2] <= "Z":
                found.append(at)
            at = lowered.find(mark, at + 1)
    return found


def _put_together(text: str, lowered: str, words: list[str], tricks: set[str]) -> tuple[list[str], list[str]]:
    """Words and web addresses that were taken apart: "f u n s i t e . c o m", "V.i.a.g.r.a", "v1agra"."""
    mended: list[str] = []
    addresses: list[str] = []
    try:
        lengths = bytes(map(len, words))
    except ValueError:
        lengths = bytes(map(min, map(len, words), repeat(255)))
    at, place = lengths.find(_FOUR_SINGLES), 0
    nowhere: set[str] = set()  # four letters that stand apart nowhere from here on
    for _ in range(40):
        if at < 0:
            break
        letters = "".join(words[at : at + 4])
        start = -1
        if letters.isalpha() and letters not in nowhere:
            start = _letters_apart(lowered, letters, place)
            if start < 0:
                nowhere.add(letters)
        match = _SPACED.match(text, start) if start >= 0 else None
        if match is None:
            at = lengths.find(_FOUR_SINGLES, at + 1)
            continue
        place = match.end()
        at = lengths.find(_FOUR_SINGLES, at + 4)
        run = match[0]
        joined = _SEPARATOR.sub("", run.replace(" . ", "\0")).replace("\0", ".").lower()
        if len(set(joined)) < 3 or joined in _ALPHABET:
            continue
        if "." not in joined and run.isupper() and "." in run and len(joined) < 6:
            continue  # "U.S.A.F."
        tricks.add("spaced-word")
        mended.append(joined.replace(".", " "))
        if "." in joined:
            addresses.append(joined)
    if "_" in lowered:  # one word to everybody else here
        for found_word in islice(_UNDERSCORED.finditer(lowered), 40):
            joined = found_word[0].replace("_", "")
            if len(set(joined)) > 2 and joined not in _ALPHABET:
                tricks.add("spaced-word")
                mended.append(joined)
    if (
        (("(" in lowered or "[" in lowered) and any(map(lowered.__contains__, _BRACKETED)))
        or ("dot" in lowered and any(map(lowered.__contains__, _DOTS)))
        or "（" in lowered
    ):
        for spelled in _SPELLED.finditer(text):
            if _BRACKET.isdisjoint(spelled[0]) and " dot " not in spelled[0].lower():
                continue  # "the end . com": a sentence's end
            tricks.add("spelled-out-address")
            addresses.append(f"{spelled[1]}.{spelled[2]}".lower())
            if len(addresses) > 40:
                break
    suspects: set[str] = set()
    encoded = lowered.encode("utf-8", "replace")
    kinds = encoded.translate(_LETTER_OR_DIGIT)
    if b"a0" in kinds or b"0a" in kinds:
        odd = filterfalse(str.isalpha, words)
        suspects = {word for word in odd if 3 < len(word) < 21 and not word.isdigit()}
    for at in _disguises(lowered, encoded):
        begin = at
        while begin and at - begin < 12 and (lowered[begin - 1].isalnum() or lowered[begin - 1] in "@$|!"):
            begin -= 1
        if (found := _DISGUISED_RUN.match(lowered, begin)) and found.end() > at:
            suspects.add(found[0])
    told = "\n".join(sorted(suspects))
    clear = [told.translate(table).split("\n") for table in (_PLAIN_LETTER, _PLAIN_LETTER_L)]
    for readings in zip(*clear, strict=True):
        if word := next(filter(_OFTEN_DISGUISED.__contains__, readings), ""):
            tricks.add("digit-letters")
            mended.append(word)
    return mended, addresses


_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"
_WORDS: Final = re.compile(r"\w+")
_TO_SPACE: Final = bytes(
    code if chr(code).isalnum() or code == 95 or code > 127 else 32 for code in range(256)
)
_ASCII_TO_SPACE: Final = _TO_SPACE[:128] + b" " * 128
_PUNCTUATION: Final = {mark: mark.encode() for mark in "\xa0’‘“”–—…•·«»®©™€£¡¿°§„‚→│|"}
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_UNSPACED_RUN: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
    "|[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


def split_words(lowered: str, most: int = sys.maxsize) -> list[str]:
    """The same as re.findall(r"\\w+"), several times faster; and runs of a script that is written without spaces
    become pairs of neighbouring characters. Of these not many more than `most` are made: a long text has one for each
    character."""
    if lowered.isascii():
        return lowered.encode("ascii").translate(_ASCII_TO_SPACE).decode("ascii").split()
    encoded = lowered.encode("utf-8", "replace")
    found = _beyond_ascii(encoded)
    marks = found & _PUNCTUATION.keys()
    if len(marks) == len(found):
        return encoded.translate(_ASCII_TO_SPACE).decode("ascii").split()
    for code in map(_PUNCTUATION.__getitem__, marks):
        encoded = encoded.replace(code, b"   "[: len(code)])  # of the same length: nothing needs moving
    pieces = encoded.translate(_TO_SPACE).decode("utf-8").split()
    beyond = "".join(found - marks)
    if b"_" not in encoded and beyond.isalnum() and not _UNSPACED.search(beyond):
        return pieces
    odd = list(filterfalse(str.isascii, pieces))
    if all(map(str.isalnum, odd)) and not _UNSPACED.search("".join(odd)):
        return pieces
    out: list[str] = []
    for piece in pieces:
        if piece.isascii():
            out.append(piece)
            continue
        if len(out) >= most:
            break
        for word in (piece,) if piece.isalnum() else _WORDS.findall(piece):
            if not _UNSPACED.search(word):
                out.append(word)
                continue
            for run in _UNSPACED_RUN.findall(word):
                if len(run) == 1 or not _UNSPACED.match(run):
                    out.append(run)
                else:
                    out.extend(islice(map(add, run, run[1:]), MAX_WORDS))
    return out


def _in_lines(text: str) -> str:
    """A page's text: a line for each piece between two breaks, one space between words, no empty lines."""
    return "\n".join(filter(None, map(" ".join, map(str.split, text.split(_BREAK.strip())))))


def read(message: ParsedMessage) -> MessageText:
    """Everything a mail says. Never raises."""
    tricks: set[str] = set()
    htmls: list[str] = []
    shown: list[str] = []
    plains: list[str] = []
    for part in message.parts:
        if part.text is None:
            continue
        if part.kind == "text/html":
            htmls.append(part.text)
        else:
            plains.append(part.text)
    page: _Page | None = None
    decoy = 0.0
    hidden = ""
    plain = "\n".join(plains)[:MAX_CHARACTERS]
    if htmls:
        page = _Page(tricks)
        visible_html = _in_lines(page.read("\n".join(htmls)))[:MAX_CHARACTERS]
        hidden = _in_lines(page.hidden)[:MAX_CHARACTERS]
        shown.append(visible_html)
        shown.extend(
            part.text
            for part in message.parts
            if part.text and part.kind != "text/html" and not part.alternative
        )
        if not visible_html and plain:
            shown.append(plain)
    else:
        shown.append(plain)
    visible = "\n".join(shown)[:MAX_CHARACTERS]
    mended_text, invisible = mend(visible, tricks)
    subject, more = mend(message.subject, tricks)
    lowered = mended_text.lower()
    words = split_words(lowered, MAX_WORDS)[:MAX_WORDS]
    if (
        htmls
        and plain
        and any(part.alternative and part.text and part.kind != "text/html" for part in message.parts)
    ):
        decoy = _decoy(plain, words)
        if decoy > 0.6:
            tricks.add("other-plain-text")
    mended, addresses = _put_together(mended_text, lowered, words, tricks)
    if mended:
        words.extend(word for run in mended for word in run.split())
    return MessageText(
        subject=subject,
        visible=mended_text,
        hidden=hidden,
        preheader=page.preheader if page else "",
        tricks=frozenset(tricks),
        words=tuple(words),
        addresses=tuple(addresses),
        plain=plain or mended_text,
        anchors=tuple(page.anchors) if page else (),
        tags=page.tags if page else {},
        markup=sum(map(len, htmls)),
        tiny=page.tiny if page else 0,
        faint=page.faint if page else 0,
        off_screen=page.off_screen if page else False,
        invisible=invisible + more,
        decoy=decoy,
    )


def _decoy(plain: str, shown: list[str]) -> float:
    """Share of the plain part's distinct longer words that the HTML does not show; 0 where there are too few to tell."""
    said = {word for word in set(split_words(plain[:2_500].lower())) if len(word) > 3}
    if len(said) < 12:
        return 0.0
    return len(said.difference(shown)) / len(said)
