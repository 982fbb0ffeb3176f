"""Other programs' answers, bounded in time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    code: int | None  # None: the program is missing, or did not answer in time
    output: str
    error: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def ask(words: Sequence[str], *, seconds: float = 20.0) -> Answer:
    """Run a program without a shell and without input. Never raises."""
    try:
        done = subprocess.run(  # noqa: PLW1510 the code is the answer
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"{words[0]} did not answer within {seconds:.0f} s")
    except OSError as error:
        return Answer(None, "", f"{words[0]}: {error.strerror or error}")
    return Answer(done.returncode, done.stdout.strip(), done.stderr.strip())
