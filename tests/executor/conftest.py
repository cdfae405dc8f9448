"""One executor for the whole folder; each test has its own scene on it."""

from collections.abc import Iterator

import pytest

from tests.executor.scene import Executor


@pytest.fixture(scope="session")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    made = Executor(tmp_path_factory.mktemp("executor"))
    yield made
    made.close()
