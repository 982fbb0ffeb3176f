"""The Thunderbird add-on: its own tests (node), and what Mozilla's linter says of the package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spamd import __version__, thunderbird_host

ROOT = Path(__file__).parents[3]
ADDON = ROOT / "plugin" / "thunderbird"


def node_version() -> int:
    if shutil.which("node") is None:
        return 0
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.match(r"v(\d+)", done.stdout)
    return int(found[1]) if found else 0


@pytest.mark.skipif(node_version() < 18, reason="node 18 or newer is not installed (Debian: nodejs)")
def test_the_addons_own_tests_pass() -> None:
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap"],
        cwd=ADDON,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert passed and int(passed[1]) >= 16, done.stdout


def test_every_file_that_the_manifest_and_the_pages_name_is_there() -> None:
    manifest = json.loads((ADDON / "manifest.json").read_bytes())
    assert manifest["manifest_version"] == 3
    assert "experiment_apis" not in manifest
    named = set(re.findall(r'"([\w/]+\.(?:js|html|svg))"', (ADDON / "manifest.json").read_text()))
    for page in ADDON.glob("*/*.html"):
        for source in re.findall(r'(?:src|href)="([^"]+)"', page.read_text()):
            named.add((page.parent / source).resolve().relative_to(ADDON.resolve()).as_posix())
    for script in ADDON.glob("**/*.js"):
        for source in re.findall(r'from "(\.[^"]+)"', script.read_text()):
            named.add((script.parent / source).resolve().relative_to(ADDON.resolve()).as_posix())
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ADDON / name).is_file()] == []


def test_the_addon_is_of_the_program_s_version() -> None:
    """Its settings tell the person when the two have grown apart."""
    manifest = json.loads((ADDON / "manifest.json").read_bytes())
    assert re.fullmatch(r"\d+(\.\d+){1,3}", manifest["version"]) and __version__.startswith(
        manifest["version"]
    )


def test_no_page_puts_mail_into_html() -> None:
    for script in ADDON.glob("**/*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text()
        )


def test_every_fact_has_its_words_in_german() -> None:
    """What the model counts gets new names now and then; the add-on would show those in English, as the filter says them."""
    from spamd import reasons
    from spamd.message import vector

    facts = vector.vectorise(b"From: a@example.org\r\n\r\nhello\r\n").named().dense
    signs = {"!": "exclamation", "?": "question", "$": "dollar", "%": "percent", ">": "over"}

    def key(text: str) -> str:
        for sign, word in signs.items():
            text = text.replace(sign, word)
        return re.sub(r"[^a-z0-9]", "", text.lower())

    def measured(fact: str, how: str) -> str:
        group, what = fact.split(": ", 1)
        return key(f"measured{group}{how}{what}")

    known = {key(name) for name in json.loads((ADDON / "_locales/de/messages.json").read_bytes())}
    sizes = {fact for fact in facts if measured(fact, "more") in known}
    assert set(reasons.MEASURES) <= sizes
    missing = [
        fact for fact in facts if fact not in sizes and key("fact" + fact.split(": ", 1)[1]) not in known
    ]
    missing += [
        f"{fact}: {how}" for fact in sizes for how in ("little", "not") if measured(fact, how) not in known
    ]
    missing += [fact for fact in reasons.QUALITIES if measured(fact, "not") not in known]
    missing += [fact for fact in facts if key("group" + fact.split(": ", 1)[0]) not in known]
    assert missing == []
    assert {name for name in known if name.startswith("measured")} <= {
        measured(fact, how) for fact in facts for how in ("more", "little", "not")
    }
    assert {name for name in known if re.match("(fact|group)[a-z]", name)} - {
        "factabsent",
        "factbelowusual",
    } <= {
        key(begin + part)
        for fact in facts
        for begin, part in zip(("group", "fact"), fact.split(": ", 1), strict=True)
    }


def test_words_on_the_buttons_can_be_read_in_light_and_dark() -> None:
    """WCAG AA asks 4.5 to 1. On the grey that a browser gives its buttons in the dark, red had 2.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    style = (ADDON / "lib/style.css").read_text()
    assert re.search(r"^button \{.*background: var\(--button\)", style, re.MULTILINE)
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", rule)) for rule in re.findall(r":root \{(.*?)\}", style)
    ]
    assert len(schemes) == 2
    for colours in schemes:
        for word in ("junk", "keep"):
            dark, light = sorted(luminance(colours[one]) for one in (word, "button"))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, colours)


def test_every_reason_for_a_decision_is_told_in_both_languages() -> None:
    """A reason without a translation would be an English sentence in a German Thunderbird."""
    found = set()
    for source in ("judgement/policy.py", "filtering/__init__.py"):
        text = (ROOT / "spamd" / source).read_text()
        for verdicts, pattern in (
            (("Keep",), r'_keep\("([\w-]+)"'),
            (("Junk", "Unsure"), r'_stay\(wanted, "([\w-]+)"'),
            (("Junk",), r'Verdict\.JUNK, \w+, "([\w-]+)"'),
            (("Unsure",), r'Verdict\.UNSURE, \w+, "([\w-]+)"'),
            (("Junk", "Unsure"), r'reason="([\w-]+)"'),
        ):
            found |= {(reason, verdict) for reason in re.findall(pattern, text) for verdict in verdicts}
    assert {("score", "Unsure"), ("copy", "Keep"), ("dealt-with", "Junk"), ("learning", "Junk")} <= found
    for language in ("en", "de"):
        messages = json.loads((ADDON / f"_locales/{language}/messages.json").read_bytes())
        for reason, verdict in found:
            key = "decision" + "".join(part.capitalize() for part in reason.split("-"))
            assert key in messages or key + verdict in messages, (language, reason, verdict)


LINTER = ROOT / "build" / "addons-linter"


@pytest.fixture(scope="module")
def linter() -> Path:
    """addons-linter 7 (the last that installs from the registry as it is), kept in build/."""
    program = LINTER / "node_modules" / ".bin" / "addons-linter"
    if not program.exists():
        if shutil.which("npm") is None or node_version() < 18:
            pytest.skip("npm with node 18 or newer is not installed (Debian: npm)")
        LINTER.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "addons-linter@7"]
        done = subprocess.run(words, cwd=LINTER, capture_output=True, text=True, timeout=240, check=False)
        if not program.exists():
            pytest.skip(f"npm could not install addons-linter: {done.stderr.strip()[-200:]}")
    return program


def test_mozillas_linter_finds_nothing(linter: Path, tmp_path: Path) -> None:
    package = tmp_path / "spamd.xpi"
    thunderbird_host.package(package)
    done = subprocess.run(
        [linter, "--output", "json", package], capture_output=True, text=True, timeout=240, check=False
    )
    found = json.loads(done.stdout)
    assert found["errors"] == []
    # The linter knows Firefox only: Thunderbird's own permissions and interfaces are strange to it.
    strange = [
        warning
        for warning in found["warnings"]
        if not (
            (
                warning["code"] == "UNSUPPORTED_API"
                and re.match(
                    r"(accounts|mailTabs|messages|messageDisplay|folders|spaces|windows)\.",
                    warning["message"],
                )
            )
            or (
                warning["code"] == "MANIFEST_PERMISSIONS"
                and re.search(r'"(accountsRead|messages(Move|Read))"', warning["message"])
            )
        )
    ]
    assert strange == []
