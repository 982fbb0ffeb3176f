"""What can go wrong between a mail server and us, and which tests play it: `python -m tests.scenarios` lists them.

A test says what it plays by `@pytest.mark.scenario(number, ...)`, or by its name (`test_17_...`). That nothing is lost,
doubled or newly read is looked at after every test on a real server (tests/servers/invariant.py).
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

SCENARIOS: dict[int, tuple[str, str]] = {
    1: ("connection", "nothing listens, then it does"),
    2: ("connection", "TLS: unknown authority, another host's certificate, TLS to a plain port"),
    3: ("connection", "STARTTLS is not offered: no password in the clear"),
    4: ("connection", "a wrong password is not tried again and again"),
    5: ("connection", "an expired token is renewed, once"),
    6: ("connection", "too many connections"),
    7: ("connection", "the server is frozen"),
    8: ("connection", "the server restarts or crashes, also while we wait for news"),
    9: ("connection", "half open: nobody says that the connection is gone"),
    10: ("connection", "kicked out at any moment"),
    11: ("connection", "a tagged OK without text"),
    12: ("waiting", "news in the segment of the continuation"),
    13: ("waiting", "lines in pieces, plain and TLS"),
    14: ("waiting", "IDLE refused or not offered: polling"),
    15: ("waiting", "IDLE is renewed"),
    16: ("waiting", "VANISHED in place of EXPUNGE"),
    17: ("reading", "an unsolicited FETCH is not taken for ours"),
    18: ("reading", "a stale FETCH is gone"),
    19: ("reading", "expunged between SEARCH and FETCH"),
    20: ("reading", "cut off inside a literal"),
    21: ("reading", "a mail of 50 MB"),
    22: ("reading", "NUL, 8 bit, bare LF, no header, empty"),
    23: ("reading", "a malformed answer in a batch"),
    24: ("reading", "a SEARCH line of 200,000 UIDs"),
    25: ("reading", "nothing is ever marked as read"),
    26: ("moving", "cut off before each command"),
    27: ("moving", "cut off after each command: done, and the answer lost"),
    28: ("moving", "kill -9 at each step of the journal"),
    29: ("moving", "no MOVE"),
    30: ("moving", "no UIDPLUS, and the person has marked mail of their own"),
    31: ("moving", "two clients and one mail"),
    32: ("moving", "two daemons on one mailbox"),
    33: ("moving", "over quota"),
    34: ("moving", "rights taken away"),
    35: ("moving", "Junk is missing, renamed or deleted in the middle"),
    36: ("moving", "UIDVALIDITY changes in the middle"),
    37: ("moving", "the journal is locked, full or damaged"),
    38: ("moving", "the person deletes our copy before we recover"),
    39: ("learning", "every kind of drag, watched and while away"),
    40: ("learning", "keywords in any case, both at once, and our own"),
    41: ("learning", "one Message-ID twice, and mails that are the same to the byte"),
    42: ("learning", "a flood is asked about"),
    43: ("learning", "separators, prefixes, names in any language, no special use"),
    44: ("learning", "clocks: jumps, daylight saving, dates in the future"),
}


def played(root: Path = Path(__file__).parent) -> dict[int, list[str]]:
    """The tests of each scenario, read off the source."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in _numbers(node):
                    found[number].append(f"{path.relative_to(root.parent).as_posix()}::{node.name}")
    return dict(found)


def _numbers(test: ast.FunctionDef) -> list[int]:
    named = re.match(r"test_(\d+)_", test.name)
    numbers = [int(named[1])] if named else []
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.scenario":
            numbers += [ast.literal_eval(one) for one in mark.args]
    return numbers


if __name__ == "__main__":
    tests = played()
    for number, (room, text) in SCENARIOS.items():
        sys.stdout.write(f"{number:2} {room}: {text}\n")
        for name in tests.get(number, ["MISSING"]):
            sys.stdout.write(f"     {name}\n")
