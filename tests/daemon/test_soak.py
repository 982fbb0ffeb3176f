"""An hour of faults in a few minutes; here in seconds. SPAMD_SOAK=300 plays the whole, SPAMD_SEED=n plays it again.

`python -m tests.daemon.soak FOLDER SECONDS SEED KIND DAEMONS -v` tells the story as it happens.
"""

from __future__ import annotations

import os
import time

import pytest

from spamd.domain import MOVING_KEYWORD
from tests.daemon.soak import Soak, run
from tests.servers.dovecot import BINARY

pytestmark = pytest.mark.skipif(
    not BINARY, reason="Dovecot is not installed (Debian: apt install dovecot-imapd dovecot-lmtpd)"
)


@pytest.mark.scenario(7, 10, 26, 27, 28, 31, 32)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "daemons"), [("maildir", 1), ("mdbox", 2), ("uidplus-only", 1)])
def test_everything_at_once(tmp_path, invariant, kind, daemons):
    seed = int(os.environ.get("SPAMD_SEED", time.time_ns() % 1_000_000))
    print(f"SPAMD_SEED={seed}")
    assert run(tmp_path, float(os.environ.get("SPAMD_SOAK", "15")), seed, kind, daemons) >= 1


def test_many_looks_excuse_no_more_than_one(tmp_path):
    """While the daemons come to rest it is looked again and again. Deleted once, two copies of a mail may not be gone."""
    soak = Soak(tmp_path, 1, kind="maildir", daemons=0)
    try:
        soak.epoch(deeds=0)
        letter = soak.deliver(spam=False)
        soak.host.append(soak.user, letter.raw)
        letter.copies = 2
        soak.uncertain[letter.subject] = 1

        def copies():
            return [one.uid for one in soak.lying() if soak.subject(one.raw) == letter.subject]

        for left in (1, 0):
            uid = copies()[0]
            with soak.by_hand() as imap:
                imap.select("INBOX")
                imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
                imap.expunge()
            if left:
                soak.host.store(soak.user, copies(), "+FLAGS", MOVING_KEYWORD)
                assert soak.wrong().startswith("left marked")
        assert soak.wrong() == f"{letter.subject}: 2 expected, lies in []"
    finally:
        soak.close()
