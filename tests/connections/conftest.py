"""The driver under test, at the embedded server and (marked `gerrit`) at a real one."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from tests.connections.embedded import embedded
from tests.connections.people import PASSWORDS, People
from tests.connections.real_gerrit import Unavailable, real_gerrit
from trunkline.connections.gerrit.connection import GerritConnection
from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.model import Position, TriggerEvent

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory):
    with embedded(tmp_path_factory.mktemp("review")) as running:
        yield running


@pytest.fixture(scope="session")
def gerrit_server(tmp_path_factory):
    try:
        with real_gerrit(tmp_path_factory.mktemp("gerrit")) as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["embedded", pytest.param("gerrit", marks=[pytest.mark.gerrit, pytest.mark.timeout(900)])])
def server(request) -> People:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def project(server: People) -> str:
    name = f"driver/p{next(_numbers)}"
    server.client().create_project(name, branches=["master"])
    return name


def connect(server: People, over_rest: bool = True, **more: str) -> GerritConnection:
    options = {
        "driver": "gerrit",
        "server": server.ssh_host,
        "port": str(server.ssh_port),
        "baseurl": server.url,
        "user": "zuul",
        "sshkey": str(server.key("zuul")),
    }
    if over_rest:
        options["password"] = PASSWORDS["zuul"]
    return GerritConnection("gerrit", GerritSettings.read("gerrit", options | more))


class Listening:
    """A driver that listens, and what it has emitted."""

    def __init__(self, connection: GerritConnection, since: Position | None = None, kept: dict | None = None) -> None:
        self.kept = {} if kept is None else kept
        self.connection = connection
        self.events: list[TriggerEvent] = []
        self._news = asyncio.Event()
        self._since = since
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Listening":
        self._task = asyncio.create_task(self.connection.listen(self._emit, self._since, self._keep))
        await asyncio.wait_for(self.connection.listener.connected.wait(), 60)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.connection.close()

    async def _keep(self, project: str, heads) -> None:
        self.kept[project] = dict(heads)

    async def _emit(self, event: TriggerEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, fits: Callable[[TriggerEvent], bool], deadline_s: float = 60) -> TriggerEvent:
        """The first event that fits, now or later."""
        async with asyncio.timeout(deadline_s):
            while True:
                self._news.clear()
                if found := next((event for event in self.events if fits(event)), None):
                    return found
                await self._news.wait()
