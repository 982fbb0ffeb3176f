"""Mail files that the person puts into the folders that teach, learned once they are whole."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from spamd.errors import RequestError, SpamdError, Unreadable

if TYPE_CHECKING:
    from spamd.control.labels import Labels
    from spamd.maildir.teach import Taught, TeachFolder

log = logging.getLogger(__name__)

YOUNG_SECONDS = 1.0
"""Between two looks while a file may still be being written."""


class TaughtMail:
    """Of both folders. Thread-safe."""

    def __init__(self, spam: Path, ham: Path, labels: Labels, *, stopping: threading.Event) -> None:
        self._spam = spam
        self._ham = ham
        self._labels = labels
        self._stopping = stopping
        self._learning = threading.Lock()

    def learn(self) -> None:
        """All that lies there; blocks until there is nothing more. Nothing where another thread does it just now."""
        from spamd.maildir.teach import TeachFolder

        if not self._learning.acquire(blocking=False):
            return
        try:
            folder = TeachFolder(self._spam, self._ham)
            while not self._stopping.is_set():
                if (
                    not all(self._learn(folder, taught) for taught in folder.collect())
                    or not folder.pending()
                ):
                    return
                self._stopping.wait(YOUNG_SECONDS)
        except (SpamdError, OSError) as error:
            log.warning("the teach folder: %s", type(error).__name__)
        finally:
            self._learning.release()

    def _learn(self, folder: TeachFolder, taught: Taught) -> bool:
        """False: the others must wait, too."""
        try:
            self._labels.teach_mail(taught.raw, taught.label)
        except RequestError as error:
            log.info("a mail file waits: %s", error.title)  # there is no account yet
            return False
        except Unreadable as error:
            log.warning("a mail file cannot be learned: %s", error.title)
            folder.refuse(taught)
        except (SpamdError, OSError):
            raise
        except Exception:  # a file that breaks the reader must not keep the others waiting
            log.exception("a mail file cannot be learned")
            folder.refuse(taught)
        else:
            return folder.done(taught)  # or it would be learned once a second
        return True
