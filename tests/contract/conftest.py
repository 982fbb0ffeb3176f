"""Every test here ends with a look at the mailboxes it used."""

from __future__ import annotations

import pytest

from tests.servers.invariant import nothing_lost_doubled_or_read


@pytest.fixture(autouse=True)
def invariant(dovecot):
    """Before the servers of this test are closed: hence `dovecot`."""
    with nothing_lost_doubled_or_read():
        yield
