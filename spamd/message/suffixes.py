"""The public suffix list (publicsuffix.org): which part of a host anybody can register.

Read from the snapshot inside tldextract without importing that package, which would bring a whole HTTP
client into the memory of a program that asks nobody anything. Only the ICANN part counts: a shop at
"github.io" is a guest there.
"""

from __future__ import annotations

import importlib.util
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_SNAPSHOT: Final = ".tld_set_snapshot"


def _rules() -> Iterator[str]:
    """Rules as written: "com", "co.uk", "*.ck", "!www.ck". Names beyond ASCII also in punycode."""
    found = importlib.util.find_spec("tldextract")
    places = found.submodule_search_locations if found is not None else None
    for place in places or ():
        text = (Path(place) / _SNAPSHOT).read_text("utf-8")
        icann = text.partition("===BEGIN ICANN DOMAINS===")[2].partition("===END ICANN DOMAINS===")[0]
        for line in (icann or text).splitlines():
            rule = line.strip()
            if not rule or rule.startswith("//"):
                continue
            yield rule
            if not rule.isascii():
                yield ".".join(_coded(label) for label in rule.split("."))


@cache
def _known() -> array[int]:
    """Hashes of the rules, sorted: 80 kB in memory, where the rules themselves take 1.3 MB. A host takes a few
    microseconds longer, once. That one of 64 bits is met by chance is not to be expected in 10**14 hosts."""
    return array("q", sorted({hash(rule) for rule in _rules()}))


def _is_rule(name: str) -> bool:
    known, value = _known(), hash(name)
    at = bisect_left(known, value)
    return at < len(known) and known[at] == value


def _coded(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


def split(host: str) -> tuple[str, str]:
    """(the label before the public suffix, the suffix), lower case as given: "a.b.co.uk" -> ("b", "co.uk").

    The suffix is "" where none is known; the label is "" where the host is itself a suffix.
    """
    labels = host.replace("。", ".").replace("．", ".").replace("｡", ".").split(".")
    lower = [label.lower() for label in labels]
    for start in range(len(lower)):
        name = ".".join(lower[start:])
        wild = ".".join(["*", *lower[start + 1 :]])
        if _is_rule("!" + name):
            first = start + 1
        elif _is_rule(name) or (start + 1 < len(lower) and _is_rule(wild)):
            first = start
        else:
            continue
        return (labels[first - 1] if first else ""), ".".join(labels[first:])
    return labels[-1], ""
