"""The public suffix list (publicsuffix.org): which part of a host anybody can register.

Read from the snapshot inside tldextract without importing that package, which would bring a whole HTTP
client into the memory of a program that asks nobody anything. Only the ICANN part counts: a shop at
"github.io" is a guest there.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Final

_SNAPSHOT: Final = ".tld_set_snapshot"


@cache
def _rules() -> frozenset[str]:
    """Rules as written: "com", "co.uk", "*.ck", "!www.ck". Names beyond ASCII also in punycode."""
    found = importlib.util.find_spec("tldextract")
    places = found.submodule_search_locations if found is not None else None
    rules: set[str] = set()
    for place in places or ():
        text = (Path(place) / _SNAPSHOT).read_text("utf-8")
        icann = text.partition("===BEGIN ICANN DOMAINS===")[2].partition("===END ICANN DOMAINS===")[0]
        for line in (icann or text).splitlines():
            rule = line.strip()
            if not rule or rule.startswith("//"):
                continue
            rules.add(rule)
            if not rule.isascii():
                rules.add(".".join(_coded(label) for label in rule.split(".")))
    return frozenset(rules)


def _coded(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


def split(host: str) -> tuple[str, str]:
    """(the label before the public suffix, the suffix), lower case as given: "a.b.co.uk" -> ("b", "co.uk").

    The suffix is "" where none is known; the label is "" where the host is itself a suffix.
    """
    labels = host.replace("。", ".").replace("．", ".").replace("｡", ".").split(".")
    rules = _rules()
    lower = [label.lower() for label in labels]
    for start in range(len(lower)):
        name = ".".join(lower[start:])
        wild = ".".join(["*", *lower[start + 1 :]])
        if "!" + name in rules:
            first = start + 1
        elif name in rules or (wild in rules and start + 1 < len(lower)):
            first = start
        else:
            continue
        return (labels[first - 1] if first else ""), ".".join(labels[first:])
    return labels[-1], ""
