"""An hour of faults in a few minutes; here in seconds. SPAMD_SOAK=300 plays the whole, SPAMD_SEED=n plays it again.

`python -m tests.daemon.soak FOLDER SECONDS SEED KIND DAEMONS -v` tells the story as it happens.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.daemon.soak import run


@pytest.mark.scenario(7, 10, 26, 27, 28, 31, 32)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "daemons"), [("maildir", 1), ("mdbox", 2), ("uidplus-only", 1)])
def test_everything_at_once(tmp_path, invariant, kind, daemons):
    seed = int(os.environ.get("SPAMD_SEED", time.time_ns() % 1_000_000))
    print(f"SPAMD_SEED={seed}")
    assert run(tmp_path, float(os.environ.get("SPAMD_SOAK", "15")), seed, kind, daemons) >= 1
