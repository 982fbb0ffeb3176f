"""Pack the Thunderbird add-on: dist/spamd-thunderbird.xpi, or the file named. Same source, same bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from spamd import thunderbird_host

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", type=Path, default=Path("dist/spamd-thunderbird.xpi"))
    target = parser.parse_args().target
    thunderbird_host.package(target)
    print(target)
