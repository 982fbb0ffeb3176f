#!/usr/bin/env python3
"""Speed and memory, measured: CPU time wherever possible, since machines are noisy.

scripts/bench.py [--json] [FILE...]     bytes -> verdict: the median over varied mails, the best of several rounds for
                                        each; at first sight: with nothing remembered of hosts and styles of other
                                        mails; the stages of the middle mail of 38 kB. FILE...: given mails
scripts/bench.py daemon [--minutes 10]  idle memory and CPU with two accounts; notice -> finished move
scripts/bench.py mailbox                polls, moves, throughput, memory on a Dovecot of its own
scripts/bench.py pages                  every page with 100,000 mails in the store
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="daemon, mailbox, pages, or mail files")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long `daemon` looks at the idle daemon"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="only this share of the work, to see whether it runs at all"
    )
    given = parser.parse_args()
    if given.what not in (["daemon"], ["mailbox"], ["pages"]):
        for name in given.what:
            if not Path(name).is_file():
                parser.error(f"there is no file {name}")
    found = measured(given.what, given.minutes, given.share)
    if given.json:
        print(json.dumps(found))
    else:
        _tell(found)
    return 0


def measured(what: list[str], minutes: float, share: float) -> dict[str, object]:
    """Each loads only what it measures with: a bench of memory starts small."""
    match what:
        case ["daemon"]:
            from scripts.bench_daemon import bench_daemon

            return bench_daemon(minutes, share)
        case ["mailbox"]:
            from scripts.bench_mailbox import bench_mailbox

            return bench_mailbox(share)
        case ["pages"]:
            from scripts.bench_pages import bench_pages

            return bench_pages(share)
        case files:
            from scripts.bench_model import bench_model

            return bench_model([Path(one) for one in files], share)


def _tell(found: object, indent: str = "") -> None:
    if isinstance(found, dict):
        for name, value in found.items():
            if isinstance(value, dict):
                print(f"{indent}{name}")
                _tell(value, indent + "  ")
            else:
                print(f"{indent}{name:<28} {value}")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())
