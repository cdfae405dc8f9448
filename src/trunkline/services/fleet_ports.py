"""What the fleet asks of the rest of the house, as one small protocol: tests plug a recording shell in here."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from trunkline.store import requests
from trunkline.store.database import Connection


class DeployNode(msgspec.Struct, frozen=True):
    """A server that a deploy runs on: its row in `nodes`, its name in the inventory and the groups it is in."""

    node_id: str
    name: str
    groups: tuple[str, ...]


class DeployRefused(Exception):
    """The deploy job can not be run as it stands (no such job, broken configuration); the text is for people."""


class FleetPorts(Protocol):
    """The borders of the fleet service. All but `head` and `read_files` run inside the caller's transaction."""

    async def request_node(
        self, conn: Connection, *, owner: str, tenant: str, label: str, provider: str, jurisdictions: Sequence[str],
        project: str, job: str
    ) -> str:  # fmt: skip
        """Ask the pool for one kept node; returns the request's id."""

    async def return_node(self, conn: Connection, request: str) -> None:
        """Withdraw a request: its node, if there is one yet, is deleted. May be asked twice."""

    async def submit_deploy(
        self, conn: Connection, *, tenant: str, application: str, job: str, project: str, branch: str, commit: str,
        nodes: Sequence[DeployNode], variables: Mapping[str, Any]
    ) -> str:  # fmt: skip
        """Start the deploy job on these nodes; returns the build's uuid. Raises DeployRefused.

        Its end comes to the inbox `fleet:<tenant>/<application>` as {"kind": "build-completed", "build": uuid,
        "result": "SUCCESS" or another word}. The nodes stay the fleet's: they are not marked used.
        """

    async def head(self, project: str, branch: str) -> str:
        """The commit at a branch's tip, for landings that do not name theirs."""

    async def read_files(self, project: str, commit: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Texts of those of these paths that exist at the commit; a path that ends in `/` means all files below."""


SubmitDeploy = Callable[..., Awaitable[str]]
Head = Callable[[str, str], Awaitable[str]]
ReadFiles = Callable[[str, str, Sequence[str]], Awaitable[Mapping[str, str]]]


class StorePorts:
    """The production borders: requests are rows, deploys and files are what the wiring hands in."""

    def __init__(self, submit_deploy: SubmitDeploy, head: Head, read_files: ReadFiles) -> None:
        self._submit_deploy, self._head, self._read_files = submit_deploy, head, read_files

    async def request_node(
        self, conn: Connection, *, owner: str, tenant: str, label: str, provider: str, jurisdictions: Sequence[str],
        project: str, job: str
    ) -> str:  # fmt: skip
        request = str(uuid.uuid4())
        await requests.create(
            conn,
            id=request,
            owner=owner,
            tenant=tenant,
            labels=[label],
            project=project,
            job=job,
            provider=provider,
            constraints={"jurisdictions": list(jurisdictions)} if jurisdictions else None,
            keep=True,
        )
        return request

    async def return_node(self, conn: Connection, request: str) -> None:
        await requests.return_nodes(conn, request)

    async def submit_deploy(self, conn: Connection, **what: Any) -> str:
        return await self._submit_deploy(conn, **what)

    async def head(self, project: str, branch: str) -> str:
        return await self._head(project, branch)

    async def read_files(self, project: str, commit: str, paths: Sequence[str]) -> Mapping[str, str]:
        return await self._read_files(project, commit, paths)
