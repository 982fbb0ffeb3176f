"""`spamdctl run` whose reader ends the program under one mail, as a fault in a C library would."""

from __future__ import annotations

import os
import sys

from spamd import cli
from spamd.message import vector
from spamd.model import scoring, taster

MARK = b"ends-the-program"
STATUS = 77
_vectorise = scoring.vectorise


def vectorise(raw: bytes) -> scoring.Features:
    if MARK in raw:
        os._exit(STATUS)
    return _vectorise(raw)


if __name__ == "__main__":
    scoring.vectorise = vector.vectorise = vectorise
    if sys.argv[1:] == ["taster"]:
        taster.serve(sys.stdin.buffer, sys.stdout.buffer)
    else:
        taster.COMMAND = (sys.executable, "-m", __spec__.name, "taster")
        sys.exit(cli.run(["run"]))
