"""The served document against the served API (schemathesis): made-up calls, right and wrong, for every route."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from spamd.web.api import ROUTES
from spamd.web.openapi import document
from tests.web.conftest import bearer
from tests.web.world import World

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
# These end the server or never end themselves; each has tests of its own.
LEFT_OUT = ("/api/v1/stop", "/api/v1/stream")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("schema"), hostile=False)
    world.server.start()
    yield world
    world.close()


@pytest.fixture(scope="module")
def caller(served):
    with bearer(served) as client:
        yield client


@SCHEMA.exclude(path=list(LEFT_OUT)).parametrize()
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_route_keeps_to_the_document(case, served, caller):
    case.call_and_validate(
        base_url=served.server.url,
        headers=dict(caller.headers),
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            negative_data_rejection,
        ],
    )
