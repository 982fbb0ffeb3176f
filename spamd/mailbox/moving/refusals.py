"""What a server may refuse without harm, and what it may not."""

from __future__ import annotations

import logging
from types import TracebackType

from spamd.errors import ConnectionLost, MailboxError, ServerBusy, SignInError

_log = logging.getLogger(__name__)

TRANSIENT = (ConnectionLost, ServerBusy, SignInError)
"""Nothing more can be done on this connection: rows stay open, for the next one to recover."""


class Tolerated:
    """A block in which a refusal changes nothing for the mail: it is logged, and the work goes on behind the block.
    TRANSIENT errors, and those that are not of the mailbox, leave it.
    """

    def __init__(self, what: str, level: int = logging.DEBUG) -> None:
        self._what = what
        self._level = level

    def __enter__(self) -> None:
        return

    def __exit__(
        self, _kind: type[BaseException] | None, problem: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if not isinstance(problem, MailboxError) or isinstance(problem, TRANSIENT):
            return False
        _log.log(self._level, "%s: %s", self._what, type(problem).__name__)
        return True


__all__ = ["TRANSIENT", "Tolerated"]
