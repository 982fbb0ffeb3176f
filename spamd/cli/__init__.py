"""The command line. `main` is the one place where an error becomes a message and an exit code.

0 done · 1 could not be done (title and hint on stderr) · 2 wrong usage, or done in part · 3 our fault ·
130 Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

STOPPED = 130  # as shells count: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `spamdctl` and `python -m spamd`."""
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
    except Exception:  # noqa: BLE001 the command line's one net
        import traceback

        traceback.print_exc()
        _complain("This is a fault of spamd.", "Please report it with the lines above (they hold no mail).")
        return 3


def _complain(title: str, hint: str) -> None:
    colour = sys.stderr.isatty()
    print(f"\x1b[31m{title}\x1b[0m" if colour else title, file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
