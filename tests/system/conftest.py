"""One installation for all these tests: each test works on changes of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connections.embedded import embedded
from tests.connections.real_gerrit import Unavailable, real_gerrit
from tests.system.world import Installation, installation


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with embedded(tmp_path_factory.mktemp("review") / "server") as review:
        with installation(tmp_path_factory.mktemp("small"), review) as world:
            yield world


@pytest.fixture
def world(shared_world: Installation) -> Iterator[Installation]:
    """The shared installation, left as it was found: no faults, nothing held."""
    yield shared_world
    shared_world.clear_faults()
    shared_world.proxy.go_on()
    shared_world.desk.release_all()


@pytest.fixture(scope="session")
def gerrit_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    try:
        with real_gerrit(tmp_path_factory.mktemp("gerrit")) as review:
            with installation(tmp_path_factory.mktemp("on-gerrit"), review) as world:
                yield world
    except Unavailable as reason:
        pytest.skip(str(reason))
