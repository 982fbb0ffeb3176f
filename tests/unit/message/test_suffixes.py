"""suffixes.split against the package whose snapshot it reads."""

from __future__ import annotations

import pytest

from spamd.message import suffixes


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("a.b.co.uk", ("b", "co.uk")),
        ("co.uk", ("", "co.uk")),
        ("localhost", ("localhost", "")),
        ("shop.github.io", ("github", "io")),
        ("a.www.ck", ("www", "ck")),
        ("a.b.foo.ck", ("b", "foo.ck")),
        ("city.kawasaki.jp", ("city", "kawasaki.jp")),
        ("a.公司.cn", ("a", "公司.cn")),
        ("b.xn--55qx5d.cn", ("b", "xn--55qx5d.cn")),
        ("", ("", "")),
    ],
)
def test_known_hosts(host, parts):
    assert suffixes.split(host) == parts


def test_the_same_as_tldextract():
    tldextract = pytest.importorskip("tldextract")
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, fallback_to_snapshot=True)
    for rule in sorted(suffixes._rules())[::7]:
        name = rule.lstrip("!").replace("*", "foo")
        for host in (name, f"a.{name}", f"x.b.a.{name}"):
            found = extract.extract_str(host)
            label, suffix = suffixes.split(host)
            assert (bool(label and suffix), suffix) == (bool(found.domain and found.suffix), found.suffix), (
                host
            )
            if suffix:
                assert label == found.domain
