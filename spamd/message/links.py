"""Where a mail's links lead: host, registered domain, and what is odd about them.

Nothing is fetched: the public suffix list is a snapshot (suffixes.py).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from spamd.message import suffixes
from spamd.message.lookalikes import SKELETON
from spamd.message.parsing import ParsedMessage
from spamd.message.text import MessageText
from spamd.message.wordlists import listed

MAX_LINKS: Final = 200

SHORTENERS: Final = listed(
    """bit.ly goo.gl t.co tinyurl.com ow.ly is.gd buff.ly adf.ly bit.do cutt.ly rebrand.ly rb.gy shorturl.at
    t.ly tiny.cc v.gd lnkd.in soo.gd s.id clck.ru u.to x.co mcaf.ee qr.ae po.st bl.ink short.io snip.ly
    tr.im zpr.io surl.li urlz.fr t2m.io shorte.st ouo.io trib.al dlvr.it shrtco.de linktr.ee vk.cc
    qrco.de tny.im gg.gg kutt.it l.ead.me shrinkme.io 1drv.ms"""
)
# Hosting anyone may use in a minute: sites, forms, buckets and gateways that phishing lives on.
OPEN_HOSTING: Final = listed(
    """blogspot.com weebly.com wixsite.com wordpress.com github.io gitlab.io netlify.app vercel.app pages.dev
    workers.dev firebaseapp.com web.app appspot.com herokuapp.com azurewebsites.net windows.net
    amazonaws.com cloudfront.net r2.dev glitch.me repl.co replit.app ngrok.io ngrok-free.app
    trycloudflare.com ipfs.io dweb.link cf-ipfs.com fleek.co duckdns.org no-ip.org no-ip.com ddns.net
    hopto.org sites.google.com docs.google.com forms.gle storage.googleapis.com myshopify.com
    godaddysites.com square.site strikingly.com webflow.io webnode.page yolasite.com
    jimdosite.com000webhostapp.com 000webhostapp.com typeform.com jotform.com formstack.com canva.site
    notion.site framer.app surge.sh tripod.com geocities.com angelfire.com translate.goog
    linodeobjects.com digitaloceanspaces.com backblazeb2.com page.link"""
)


class Link(NamedTuple):
    """One link (a tuple: there are hundreds in one mail). `flags` are plain words.

    "ip", "port", "punycode", "text-differs", "shortener", "redirect", ...
    """

    url: str  # at most 500 characters, as written
    host: str  # lower case, Unicode for punycode names; "" for mailto, tel, ...
    domain: str  # registered domain; the host itself for addresses and unknown suffixes
    shown: str = ""  # the text a person sees
    flags: frozenset[str] = frozenset()
    path: str = ""
    query: str = ""
    kind: str = "a"  # "a", "form", "img", "text"


@lru_cache(maxsize=4096)
def registered(host: str) -> str:
    """Registered domain of a host ("a.b.co.uk" -> "b.co.uk"); the host itself where the suffix is unknown."""
    if not host or len(host) > 253:
        return host[-253:]
    label, suffix = suffixes.split(host)
    return f"{label}.{suffix}" if label and suffix else host


_URL: Final = re.compile(
    r"([a-zA-Z][a-zA-Z0-9+.-]{0,20}):(?://)?(?:([^/?#@\s]{0,200})@)?(\[[0-9a-fA-F:.]{2,45}\]|[^/?#:\s]{0,255})(?::(\d{0,5}))?([^?#]*)(?:\?([^#]*))?"
)
_TAIL: Final = re.compile(r"[^\s<>\"'`\])}（）]{3,2000}")
_SCHEMES: Final = ("https", "http", "hxxps", "hxxp")


def _written(text: str) -> list[str]:
    """Web addresses in a text, as far as they go."""
    found: list[str] = []
    if "://" in text:
        at = text.find("://")
        while at >= 0 and len(found) < MAX_LINKS:
            before = text[max(0, at - 5) : at].lower()
            end = at + 3
            scheme = next((name for name in _SCHEMES if before.endswith(name)), "")
            if scheme and (tail := _TAIL.match(text, at + 3)):
                found.append(text[at - len(scheme) : tail.end()])
                end = tail.end()
            at = text.find("://", end)
    lowered = text if "www." in text else ""
    if not lowered and "WWW." in text:
        lowered = text.lower()
    at = lowered.find("www.")
    while at >= 0 and len(found) < 2 * MAX_LINKS:
        end = at + 4
        alone = at == 0 or not (lowered[at - 1].isalnum() or lowered[at - 1] in "_./@-")
        if alone and lowered[end : end + 1].isalnum() and (tail := _TAIL.match(text, end)):
            found.append(text[at : tail.end()])
            end = tail.end()
        at = lowered.find("www.", end)
    return found


_SHOWN_HOST: Final = re.compile(r"(?:https?://|www\.)?((?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,18})", re.I)
_NUMBER_PART: Final = re.compile(r"(?:0x[0-9a-f]{1,16}|\d{1,16})$")
_INNER_URL: Final = re.compile(r"(?:=|/|^)(?:https?(?:%3a|:)(?:%2f|/){2}|aHR0c)", re.I)
_OTHER: Final = frozenset(
    {
        "mailto",
        "tel",
        "sms",
        "javascript",
        "data",
        "cid",
        "file",
        "callto",
        "skype",
        "whatsapp",
        "geo",
        "about",
    }
)


def _address_number(host: str) -> bool:
    """Whether browsers read the host as an IPv4 number ("3232235777", "0xC0A80101", "192.168.257",
    "0300.0.0.1").
    """
    if not host or host[-1] not in "0123456789abcdef" or (host[0] not in "0123456789"):
        return False
    labels = host.split(".")
    return len(labels) <= 4 and all(_NUMBER_PART.match(label) for label in labels)


@lru_cache(maxsize=2048)
def _host(raw: str) -> tuple[str, str, frozenset[str]]:
    """Host as people read it, its registered domain, and its flags."""
    host, domain, flags = _read_host(raw)
    return host, domain, frozenset(flags)


_AS_RESOLVED: Final = {
    **dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)),
    **dict.fromkeys((0x3002, 0xFF0E), "."),
}
"""What a browser makes of it before it asks for the host (UTS 46): some characters go, some are dots."""


def _read_host(raw: str) -> tuple[str, str, tuple[str, ...]]:
    flags: list[str] = []
    host = raw
    if "%" in host:
        flags.append("coded-host")
        host = unquote(host)
    host = host.lower().strip(".")
    if not host.isascii():
        flags.append("unicode-host")
        host = host.translate(_AS_RESOLVED)
        if (skeleton := host.translate(SKELETON)).isascii() and skeleton != host:
            flags.append("look-alike-host")
    if host.startswith("["):
        return host, host, (*flags, "ip")
    if _address_number(host):
        flags.append("ip")
        if (
            host.count(".") != 3
            or "x" in host
            or any(part.startswith("0") and part != "0" for part in host.split("."))
        ):
            flags.append("coded-ip")
        return host, host, tuple(flags)
    if "xn--" in host:
        flags.append("punycode")
        readable = ".".join(map(_unpuny, host.split(".")))
        if not readable.isascii() and readable.translate(SKELETON).isascii():
            flags.append("look-alike-host")
        domain = ".".join(map(_unpuny, registered(host).split(".")))
        host = readable
    else:
        domain = registered(host)
    if domain in SHORTENERS:
        flags.append("shortener")
    if domain in OPEN_HOSTING or host in OPEN_HOSTING or host.partition(".")[2] in OPEN_HOSTING:
        flags.append("open-hosting")
    return host, domain, tuple(flags)


def _unpuny(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode").encode("utf-8").decode("utf-8") or label
    except (UnicodeError, ValueError, OverflowError, IndexError):
        return label


def _leads_on(url: str, path: str, query: str) -> bool:
    """Whether another web address is written in a link's path or query."""
    lowered = url.lower()
    if lowered.find("http", 4) < 0 and "ahr0c" not in lowered:
        return False
    return (len(query) > 8 and _INNER_URL.search(query) is not None) or (
        len(path) > 12 and _INNER_URL.search(path) is not None
    )


_BEFORE_HOST: Final = re.compile(r"(https?:)(?=[/\\])|(?=[/\\]{2})", re.I)
_BEFORE_QUERY: Final = re.compile(r"[^?#]*")


def _as_browsers_read(url: str) -> str:
    """A backslash is a slash, and any number of them may stand before the host (WHATWG URL, special schemes): what
    "http:\\\\evil.example" and "http://evil.example\\@bank.example" lead to."""
    begin, before = _BEFORE_HOST.match(url), _BEFORE_QUERY.match(url)
    if not begin or not before:
        return url
    path = before[0][begin.end() :].replace("\\", "/").lstrip("/")
    return f"{begin[1] or ''}//{path}{url[before.end() :]}"


_PLAIN_HOST: Final = re.compile(r"[a-zA-Z0-9.-]{1,200}")


@lru_cache(maxsize=2048)
def _plain_host(raw: str) -> tuple[str, str, frozenset[str]] | None:
    """_host() of what stands between "://" and the path, if it is a host and nothing else: no user, no port."""
    found = _host(raw) if _PLAIN_HOST.fullmatch(raw) else None
    return found if found and found[0] and ("." in found[0] or "ip" in found[2]) else None


def link(url: str, shown: str = "", kind: str = "a") -> Link | None:
    """A link from what is written in an href or a text; None if it leads nowhere."""
    url = url.strip()
    if not url.isprintable():
        url = url.replace("\n", "").replace("\t", "").replace("\r", "")
    # Most links are plain, and parted at their marks faster than by a pattern.
    scheme, _, rest = url.partition("://")
    if scheme == "https" or scheme == "http":
        rest, _, _ = rest.partition("#")
        rest, _, query = rest.partition("?")
        raw_host, slash, path = rest.partition("/")
        if plain := _plain_host(raw_host):
            host, domain, flags = plain
            return _made(url, host, domain, shown, flags, scheme, slash + path, query, kind)
    if not url or url[0] == "#":
        return None
    url = _as_browsers_read(url)
    if url.startswith("//"):
        url = "http:" + url
    match = _URL.match(url)
    if not match:
        if kind != "text" or not url.lower().startswith("www."):
            return Link(url[:500], "", "", shown, frozenset(("relative",)), kind=kind)
        match = _URL.match(_as_browsers_read("http://" + url))
        if not match:
            return None
    scheme = match[1].lower()
    if scheme in _OTHER:
        domain = ""
        if scheme == "mailto":
            address = url[7:].partition("?")[0]
            if "@" in address:
                domain = registered(address.rpartition("@")[2].strip(" >").lower())
        return Link(url[:500], "", domain, shown, frozenset((scheme,)), kind=kind)
    host, domain, flags = _host(match[3])
    if not host or ("." not in host and "ip" not in flags):
        return Link(url[:500], host, domain, shown, frozenset(("relative",)), kind=kind)
    if scheme == "hxxp" or scheme == "hxxps":
        flags |= _SPELLED_OUT
    if match[2] is not None:
        flags |= _USER
    if match[4] and match[4] not in ("80", "443"):
        flags |= _PORT
    return _made(url, host, domain, shown, flags, scheme, match[5], match[6] or "", kind)


_SPELLED_OUT: Final = frozenset(("spelled-out",))
_USER: Final = frozenset(("user-in-url",))
_PORT: Final = frozenset(("port",))
_NOT_HTTPS: Final = frozenset(("not-https",))
_REDIRECT: Final = frozenset(("redirect",))
_DIFFERS: Final = frozenset(("text-differs",))


def _made(
    url: str,
    host: str,
    domain: str,
    shown: str,
    flags: frozenset[str],
    scheme: str,
    path: str,
    query: str,
    kind: str,
) -> Link:
    """A link to a host, with the flags that scheme, path, query and shown text add."""
    if scheme == "http":
        flags |= _NOT_HTTPS
    if (query or len(path) > 12) and _leads_on(url, path, query):
        flags |= _REDIRECT
    if (
        shown
        and kind == "a"
        and "." in shown
        and (told := _SHOWN_HOST.match(shown))
        and "@" not in shown[: told.end() + 1]
    ):
        told_host = told[1].lower()
        told_domain = registered(told_host)
        if told_domain != domain and told_domain != told_host.rpartition(".")[2] and _known_suffix(told_host):
            flags |= _DIFFERS
    fields = (url[:500], host, domain, shown, flags, path[:500], query[:500], kind)
    return tuple.__new__(Link, fields)  # Link() itself takes three times as long


@lru_cache(maxsize=1024)
def _known_suffix(host: str) -> bool:
    return all(suffixes.split(host))


def find(message: ParsedMessage, text: MessageText) -> tuple[Link, ...]:
    """Every link of a mail, once each, in order: of the HTML, then those written in the text."""
    out: list[Link] = []
    for kind, target, shown in text.anchors:
        found = link(target, shown, kind)
        if found is not None:
            out.append(found)
            if len(out) >= MAX_LINKS:
                return tuple(out)
    written: list[str] = []
    sources = (text.visible,) if text.plain is text.visible else (text.visible, text.plain)
    for source in sources:
        written += _written(source)
    written.extend(f"http://{address}/" for address in text.addresses)
    if not written:
        return tuple(out)
    targets = {anchor.target for anchor in text.anchors}
    told = "\n".join([anchor.shown for anchor in text.anchors if anchor.shown])
    for url in written:
        url = url.rstrip(".,;:!?*_")
        if url[:4].lower() == "www." and "." not in url[4:]:
            continue
        if url in targets or (told and url in told):
            continue
        targets.add(url)
        found = link(url, "", "text")
        if found is not None:
            out.append(found)
            if len(out) >= MAX_LINKS:
                break
    return tuple(out)
