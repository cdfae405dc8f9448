"""One embedded server for the tests of this room; each test has a project of its own."""

import itertools

import pytest

from tests.connections.embedded import Embedded, embedded

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with embedded(tmp_path_factory.mktemp("review")) as running:
        yield running


@pytest.fixture
def project(server: Embedded) -> str:
    """The name of a fresh project with one empty commit on master."""
    name = f"demo/p{next(_numbers)}"
    server.client().create_project(name, branches=["master"])
    return name
