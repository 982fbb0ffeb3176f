"""What README and docs say is true: every command runs, every link leads somewhere, every room exists."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import MAIL, Program, Said, wait_for
from tests.servers.mailhost import PASSWORD

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> Iterator[tuple[str, str]]:
    """Every `spamdctl` line in the pages, with its page: in blocks and in running text."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                assert line.startswith("$ "), f"{page.name}: {line!r} is no command"
                if "spamdctl" in line:
                    yield page.name, re.sub(r"\s+#.*", "", line[2:])
        for line in re.findall(
            r"`((?:\S*/)?spamdctl [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        ):
            yield page.name, line


SAID = list(dict.fromkeys(commands()))
# Needs a terminal, a desktop, rights or a person: here only that the command is there.
ONLY_HELP = {"setup", "run", "service install", "service uninstall", "thunderbird install", "thunderbird uninstall",
             "account password", "account sign-in", "thunderbird token"}  # fmt: skip
LATE = ("stop", "wipe", "restore")  # end what the others need


@pytest.fixture(scope="module")
def program(tmp_path_factory, _embedded):
    folder = tmp_path_factory.mktemp("docs")
    made = Program(folder / "spamd", _embedded)
    server = made.server
    assert made("settings", "set", "secrets", "file").code == 0
    added = made(
        "account", "add", "home", "--host", server.host, "--port", str(server.port), "--user", made.user,
        "--tls", "none", "--mode", "filtering", "--password-stdin", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    assert added.code == 0, added.err
    made.start()
    made.until("home", "watching")
    for _ in range(4):
        made.arrive(spam=True)
        made.arrive(spam=False)
    (folder / "labels.jsonl").write_text(made("labels", "export").out)
    for name in ("cur", "new", "tmp"):
        (folder / "Maildir" / name).mkdir(parents=True)
    yield made
    made.close()


def prepared(line: str, program: Program) -> list[str]:
    """The words of a command of the docs, with this world's things for the placeholders."""
    folder = program.home.parent
    with program.client() as client:
        judged = client.judgements(limit=50)
        mail = next((one for one in judged if one.moved), judged[0] if judged else None)
        label = next(iter(client.labels(limit=1)), None)
        current = client.models().current
    places = {
        "COMMAND": "status",
        "NUMBER": str(mail.id if mail else 0),
        "1": str(mail.id if mail else 0),
        "MODEL": current.id if current else "",
        "IDENTITY": label.identity if label else "",
        "FILE": str(folder / "spamd.age"),
        "spamd.age": str(folder / "spamd.age"),
        "labels.jsonl": str(folder / "labels.jsonl"),
        "mail.eml": str(next(iter(sorted((MAIL / "spam").glob("*.eml"))))),
        "~/Maildir": str(folder / "Maildir"),
        "~/oauth.toml": str(folder / "oauth.toml"),
        "work": "home",
    }
    words = shlex.split(line.partition(" | ")[0])
    while "=" in words[0] or words[0] in ("eval",):
        words.pop(0)
    assert words.pop(0).endswith("spamdctl"), line
    return [places.get(word, word) for word in words]


def kind(words: list[str]) -> str:
    return next((one for one in ONLY_HELP if words[: len(one.split())] == one.split()), "")


def order(row: tuple[str, str]) -> int:
    word = row[1].split("spamdctl ", 1)[1].split()[0]
    return 1 + LATE.index(word) if word in LATE else 0


def test_the_docs_name_every_command() -> None:
    from spamd.cli.commands import ROWS

    named = {line.split("spamdctl ", 1)[1].split()[0] for _page, line in SAID}
    assert set(ROWS) - named == set(), "commands the docs do not show"


@pytest.mark.parametrize(
    ("page", "line"), sorted(SAID, key=order), ids=[f"{p}: {c}" for p, c in sorted(SAID, key=order)]
)
def test_a_command_of_the_docs_runs(program: Program, page: str, line: str) -> None:
    words = prepared(line, program) if program.process and program.process.poll() is None else None
    if words is None:
        program.start()
        words = prepared(line, program)
    if kind(words):
        said = program(*kind(words).split(), "--help")
        for option in (one for one in words if one.startswith("--")):
            assert option in said.out, f"{option} is no option of {words}"
        assert said.code == 0, said.err
        return
    said = carry_out(program, words)
    assert said.code == 0, f"{page}: {line}\n{said.out}{said.err}"


def carry_out(program: Program, words: list[str]) -> Said:
    """Run it, with what a person would type and have at hand."""
    passphrase = "correct horse\n"
    backup = program.home.parent / "spamd.age"
    match words:
        case ["backup", *_]:
            backup.unlink(missing_ok=True)
            return program(*words, "--passphrase-stdin", stdin=passphrase)
        case ["restore", *_]:
            if not backup.exists():
                assert program("backup", str(backup), "--passphrase-stdin", stdin=passphrase).code == 0
            assert program("stop").code == 0
            assert program.process
            program.process.wait(60)
            return program(*words, "--passphrase-stdin", "--yes", stdin=passphrase)
        case ["stop"]:
            said = program(*words)
            assert program.process
            program.process.wait(60)
            return said
        case ["account", "add", name, *rest]:
            if "--maildir" not in rest:  # a server of the example's name is not there
                fresh = [*rest, "--no-test", *(() if "--oauth" in rest else ("--password-stdin",))]
                if "--oauth" in rest:
                    return program("account", "add", "--help")
                return program("account", "add", f"{name}2", *fresh, stdin="x\n")
            return program(*words)
        case ["account", "set", _, pair] if pair.startswith("ca_file="):
            return program("account", "set", "--help")
        case ["lists", "remove", value]:
            program("lists", "junk", value)
        case ["labels", "forget", account, _]:
            listed = program("labels", "list", "--json").json or [teach(program)]
            return program("labels", "forget", account, listed[0]["identity"])
        case ["labels", "set", account, _, word]:
            teach(program)
            return program(
                "labels", "set", account, program("labels", "list", "--json").json[0]["identity"], word
            )
        case ["undo", number, *_] if number.isdigit():
            judged = program.arrive(spam=True)
            for _ in range(10):
                if judged is not None and judged.moved:
                    break
                judged = program.arrive(spam=True)
            assert judged is not None
            return program("undo", str(judged.id), *words[2:])
        case ["account", "read", _]:

            def free() -> bool:
                with program.client() as client:
                    return not any(p.kind == "first-reading" and not p.finished for p in client.progress())

            wait_for(free, "the reading before")
        case ["train", *_]:
            return program("train", "--help")  # it is really run in tests/cli/test_online.py
        case ["doctor", *_]:
            said = program(*words)
            return Said(
                0 if said.out and not said.err else said.code, said.out, said.err
            )  # 1: it found something
        case ["open", *_]:
            os.environ["BROWSER"] = "/bin/true"
            return program(*words)
        case ["logs", *rest] if "-f" in rest or "--follow" in rest:
            return program("logs", "--help")
        case ["model", "rollback", *_]:
            return program("model", "rollback", "--help")  # needs two models: tests/cli/test_online.py
        case ["wipe", *rest] if "--yes" not in rest:
            return program(*words, "--yes")
        case ["undo" | "model" | "account", *rest] if {"--since", "reset", "remove"} & set(rest):
            return program(*words, *(() if {"--yes", "--dry-run"} & set(rest) else ("--yes",)))
    return program(*words)


def teach(program: Program) -> dict[str, str]:
    with program.client() as client:
        one = client.judgements(limit=1)[0]
    assert program("label", str(one.id), "good", "--no-move").code == 0
    row: dict[str, str] = program("labels", "list", "--json").json[0]
    return row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}
            assert anchor in anchors, f"{page.name} links to {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = PAGES[0].read_text("utf-8")
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in text, f"README does not lead to docs/{page.name}"


def rooms() -> set[str]:
    """Modules and packages of the top level, as the architecture names them."""
    found = set()
    for one in (ROOT / "spamd").iterdir():
        if one.suffix == ".py" and not one.name.startswith("_"):
            found.add(one.stem)
        elif (one / "__init__.py").exists():
            found.add(one.name)
    return found


def test_the_architecture_names_the_rooms_that_exist() -> None:
    text = PAGES[0].read_text("utf-8")
    picture = re.search(r"## Architecture.*?```\n(.*?)```", text, re.DOTALL)
    assert picture
    named = set()
    for line in picture[1].splitlines():
        head = re.split(r"\s{2,}", line.strip())[0]
        named |= {word for word in head.split(" · ") if word}
    assert named - rooms() == set(), "rooms the README names that are not there"
    assert rooms() - named == set(), "rooms the README does not name"
    for module in re.findall(
        r"`([a-z_]+[./][a-z_]+)(?:\.py)?`", text.split("## Architecture")[1].split("## The model")[0]
    ):
        path = module.replace(".", "/").removesuffix("/py")
        assert any(
            (ROOT / base / f"{path}{end}").exists() for base in ("spamd", ".") for end in ("", ".py")
        ), f"{module} is not there"


def test_every_module_has_a_layer() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one for one in contracts if one["type"] == "layers")
    assert layers["exhaustive"] is True
    placed = {name.strip() for row in layers["layers"] for name in row.split("|")}
    assert placed == rooms()


def test_make_targets_of_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text("utf-8")):
            assert target in targets, f"{page.name}: make {target}"


def test_settings_named_in_the_docs_exist() -> None:
    from dataclasses import fields

    from spamd.domain import Account
    from spamd.settings import OPTIONS

    known = {one.name for one in OPTIONS} | {one.name for one in fields(Account)}
    for page, line in SAID:
        if match := re.search(r"settings (?:set|unset) (\S+)|account set \S+ (\w+)=", line):
            assert (match[1] or match[2]) in known, f"{page}: {line}"
