"""One served world per module for reading, and fresh ones for what changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.web.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Served, seeded, shared by the tests of a module: they only read, or change what no other looks at."""
    made = World(tmp_path_factory.mktemp("world"))
    made.server.start()
    yield made
    made.close()


@pytest.fixture
def fresh(tmp_path):
    """makes(**options) -> a served world of this test's own."""
    made = []

    def make(**options) -> World:
        world = World(tmp_path / f"world-{len(made)}", **options)
        made.append(world)
        world.server.start()
        return world

    yield make
    for world in made:
        world.close()


def bearer(world: World, **headers: str) -> httpx.Client:
    """A caller with the token, as the command line is."""
    return httpx.Client(
        base_url=world.server.url,
        headers={"Authorization": f"Bearer {world.server.access.token}", **headers},
        trust_env=False,
        timeout=60,
    )


@contextmanager
def signed_in(world: World) -> Iterator[httpx.Client]:
    """A caller with a browser's session cookie."""
    with httpx.Client(base_url=world.server.url, trust_env=False, timeout=60) as client:
        client.get(f"/open?code={world.server.access.new_code()}").raise_for_status()
        yield client
