"""Own addresses as they come and go; and those of this machine, asked for real."""

from __future__ import annotations

import socket

import pytest

from spamd.mailbox.network import Network, News, is_ours, own_addresses

WIFI = (socket.AF_INET, "192.168.1.7")
CABLE = (socket.AF_INET, "10.0.0.7")
SIX = (socket.AF_INET6, "2001:db8::7")
SIX_FRESH = (socket.AF_INET6, "2001:db8::8")


class Machine:
    """out: what new connections are made from. there: all addresses it has."""

    def __init__(self, *out):
        self.out, self.there = set(out), set(out)

    def network(self):
        return Network(lambda: frozenset(self.out), lambda *one: one in self.there)

    def set(self, out, there=None):
        self.out, self.there = set(out), set(out if there is None else there)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([([WIFI], None)] * 3, [News.NOTHING] * 3, id="nothing happens"),
        pytest.param([([CABLE], None)], [News.MOVED], id="another network"),
        pytest.param(
            [([CABLE], [CABLE, WIFI]), ([CABLE], None)], [News.NOTHING, News.MOVED], id="cable, then no wifi"
        ),
        pytest.param([([], None), ([WIFI], None)], [News.MOVED, News.BACK], id="off and on again"),
        pytest.param([([], [WIFI]), ([WIFI], None)], [News.NOTHING, News.BACK], id="no route for a while"),
        pytest.param(
            [([WIFI, SIX], None), ([WIFI, SIX_FRESH], [WIFI, SIX, SIX_FRESH])],
            [News.NOTHING] * 2,
            id="privacy",
        ),
    ],
)
def test_news(steps, expected):
    machine = Machine(WIFI)
    network = machine.network()
    seen = []
    for out, there in steps:
        machine.set(out, there)
        seen.append(network.look())
    assert seen == expected


def test_offline_from_the_start():
    machine = Machine()
    network = machine.network()
    assert network.look() is News.NOTHING
    machine.set([WIFI])
    assert network.look() is News.BACK


def test_this_machine():
    assert Network().look() is News.NOTHING
    assert all(is_ours(*one) for one in own_addresses())
    assert is_ours(socket.AF_INET, "127.0.0.1")
    assert not is_ours(socket.AF_INET, "192.0.2.1")
