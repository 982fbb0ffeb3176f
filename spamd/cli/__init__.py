"""The command line. `main` is the one place where an error becomes a message and an exit code.

0 done · 1 could not be done (title and hint on stderr) · 2 wrong usage, or done in part · 3 our fault ·
130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

STOPPED = 130  # as shells count: 128 + SIGINT
UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a file, or a terminal that is gone


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `spamdctl` and `python -m spamd`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller, or a Windows program without a console
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 for good
    try:
        code = run(arguments)
    except KeyboardInterrupt:  # pressed again while the first press was being answered
        code = STOPPED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nor may a further press spoil the way out
    if code == STOPPED:
        print("\nStopped. Nothing was left half done.", file=sys.stderr)
    raise SystemExit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code."""
    import click

    from spamd.cli.commands import spamdctl
    from spamd.errors import DoneInPart, SpamdError

    try:
        result = spamdctl.main(
            args=None if arguments is None else list(arguments), prog_name="spamdctl", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except SpamdError as exc:
        _complain(exc.title, exc.hint)
        return 2 if isinstance(exc, DoneInPart) else 1
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        return STOPPED
    except BrokenPipeError:
        # The reader (head, less) went away: not an error of ours, and nothing more can be said.
        sys.stderr.close()
        return 0
    except SystemExit:  # click's word for the same
        return 0
    except Exception as exc:  # noqa: BLE001 the command line's one net
        import traceback

        if isinstance(exc, OSError) and exc.errno in UNWRITTEN and exc.filename is None:
            _let_go(sys.stdout)
            _complain(
                f"The answer could not be written: {exc.strerror}.", "Look at the disk that it goes to."
            )
            return 1
        traceback.print_exc()
        _complain("This is a fault of spamd.", "Please report it with the lines above (they hold no mail).")
        return 3


def _let_go(stream: TextIO) -> None:
    """Of what it could not write, or Python would say so once more, at the end."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _complain(title: str, hint: str) -> None:
    colour = sys.stderr.isatty()
    print(f"\x1b[31m{title}\x1b[0m" if colour else title, file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
