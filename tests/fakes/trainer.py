"""A trainer for tests of the night: it says and leaves what the test's plan tells it, and learns nothing.

Run as `python trainer.py PLAN --database ... --out ...`; PLAN is a JSON file with a list of steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path


def tied() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    for name in ("--database", "--parent", "--shipped", "--out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--until")
    parser.add_argument("--from-scratch", action="store_true")
    parser.add_argument("--tied", action="store_true")
    given, _ = parser.parse_known_args()
    if given.tied:
        threading.Thread(target=tied, daemon=True).start()
    (given.plan.parent / "arguments.json").write_text(json.dumps(sys.argv[2:]))
    keep = []
    for step in json.loads(given.plan.read_text()):
        match step:
            case {"say": text}:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            case {"bytes": hexadecimal}:
                sys.stdout.buffer.write(bytes.fromhex(hexadecimal))
                sys.stdout.buffer.flush()
            case {"complain": text}:
                sys.stderr.write(text + "\n")
            case {"candidate": source}:
                given.out.mkdir(parents=True)
                for path in Path(source).iterdir():
                    (given.out / path.name).write_bytes(path.read_bytes())
            case {"temporary": True}:
                import tempfile

                (given.plan.parent / "temporary.txt").write_text(tempfile.gettempdir())
            case {"allocate": megabytes}:
                keep.append(bytearray(os.urandom(2**20)) * megabytes)
            case {
                "child": alone
            }:  # a process that holds the output open, as a library might start one; in a session of its own?
                code = "import time\nwhile True: time.sleep(60)"
                import subprocess

                made = subprocess.Popen([sys.executable, "-c", code], start_new_session=alone == "alone")
                (given.plan.parent / "child.pid").write_text(str(made.pid))
            case {"hang": True}:
                while True:
                    time.sleep(60)
            case {"close": True}:
                sys.stdout.flush()
                os.close(1)
            case {"exit": code}:
                sys.stdout.flush()
                os._exit(code)
            case {"crash": True}:
                os.abort()
    return 0


if __name__ == "__main__":
    sys.exit(main())
