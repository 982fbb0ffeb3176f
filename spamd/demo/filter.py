"""The filter as the demo runs it: `spamdctl run` that ends with the demo, also when that is killed.

Without this a demo ended by kill -9 would leave a filter behind that asks for a mailbox that is gone, for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from spamd import daemon, paths


def main() -> int:
    """Standard input is a pipe from the demo. It closes when the demo ends, however that ends."""

    def end_with_demo() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_demo, name="demo", daemon=True).start()
    return daemon.main(paths.find(), foreground=True)


if __name__ == "__main__":
    sys.exit(main())
