"""`python -m spamd.training --database FILE --parent FOLDER --out FOLDER`: one night, in a process of its own.

Prints JSON lines: {"event": "progress", "done": n, "of": n}, at the end {"event": "result", "status": ...}.
Exit codes: 0 a candidate lies in --out · 3 nothing to learn from yet, with the reason · 4 cannot be done (parent,
database or installation unusable) · 2 wrong arguments · anything else: a crash. Nothing but --out is ever written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from spamd.errors import SpamdError
from spamd.training.report import NothingToLearn, Reporter

WAITS, IMPOSSIBLE = 3, 4
MAX_LABELS = 30_000
"""The newest, what the person said before what they left lying: 10 kB each in memory, and no night learns from more."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spamd.training", description="One night's training.")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--parent", type=Path, required=True, help="bundle folder to continue from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the candidate")
    parser.add_argument("--shipped", type=Path, help="folder of the shipped base")
    parser.add_argument("--until", type=float, default=math.inf, help="only labels up to this Unix time")
    parser.add_argument("--account", help="only labels of this account")
    parser.add_argument("--from-scratch", action="store_true", help="the whole ledger on the bare base")
    parser.add_argument("--architecture", default="hashed_linear.v1")
    parser.add_argument("--threshold", type=float, help="probability from which mail is moved now")
    parser.add_argument(
        "--believe", type=Path, help="JSON list of labels that the person stayed with when asked"
    )
    parser.add_argument("--believe-all", action="store_true", help="doubt no label, whatever the model says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tied", action="store_true", help="end when standard input closes")
    given = parser.parse_args(arguments)
    if given.tied:
        threading.Thread(target=_end_with_parent, name="tied", daemon=True).start()
    report = Reporter()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        from spamd.paths import shipped_model
        from spamd.store.database import Store

        if not given.database.is_file():
            report.event("result", status="impossible", reason="There is no database there.", hint="")
            return IMPOSSIBLE
        try:
            from spamd.training import night
        except ImportError as error:
            report.event(
                "result",
                status="impossible",
                reason=f"TensorFlow is not installed ({error.name}).",
                hint="Install spamd-desktop[train]; until then corrections still count at once.",
            )
            return IMPOSSIBLE
        settings = night.Settings(
            parent=given.parent,
            shipped=given.shipped or shipped_model(),
            out=given.out,
            from_scratch=given.from_scratch,
            architecture=given.architecture,
            threshold=given.threshold,
            seed=given.seed,
            believed=frozenset(json.loads(given.believe.read_text("utf-8")))
            if given.believe
            else frozenset(),
            doubt=not given.believe_all,
        )
        until = given.until if math.isfinite(given.until) else 1e15
        with Store(given.database, read_only=True) as store:
            rows = store.training_set(until=until, limit=MAX_LABELS, account=given.account)
            card = night.run(rows, settings, report, store.senders())
    except SpamdError as error:
        report.event("result", status="impossible", reason=error.title, hint=error.hint)
        return IMPOSSIBLE
    except OSError as error:
        reason = f"The new model could not be written: {error.strerror or error}."
        report.event(
            "result",
            status="impossible",
            reason=reason,
            hint="Look at the disk, and at the rights of the folder.",
        )
        return IMPOSSIBLE
    except NothingToLearn as error:
        report.event("result", status="waits", reason=str(error), hint="")
        return WAITS
    report.event(
        "result", status="candidate", folder=str(given.out), card=json.loads(json.dumps(asdict(card)))
    )
    return 0


def _end_with_parent() -> None:
    """Standard input is a pipe from the daemon. It closes when the daemon ends, even by kill -9."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
