"""What the fleet asks of the rest of the house, as one small protocol: tests plug a recording shell in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import psycopg

Conn = psycopg.AsyncConnection[dict[str, Any]]


class DeployNode(msgspec.Struct, frozen=True):
    """A server that a deploy runs on: its row in ``nodes``, its name in the inventory and the groups it is in."""

    node_id: str
    name: str
    groups: tuple[str, ...]


class FleetPorts(Protocol):
    """The borders of the fleet service. All but ``read_files`` run inside the caller's transaction."""

    async def request_node(
        self,
        conn: Conn,
        *,
        owner: str,
        tenant: str,
        label: str,
        provider: str,
        jurisdictions: Sequence[str],
        project: str,
        job: str,
    ) -> str:
        """Ask the pool for one kept node (``keep``); returns the request's id."""

    async def cancel_request(self, conn: Conn, request: str) -> None:
        """Withdraw a request; nodes it already has are deleted."""

    async def release_node(self, conn: Conn, node: str) -> None:
        """Mark a node used: the launcher deletes it."""

    async def submit_deploy(
        self,
        conn: Conn,
        *,
        tenant: str,
        application: str,
        job: str,
        project: str,
        branch: str,
        commit: str,
        nodes: Sequence[DeployNode],
        variables: Mapping[str, Any],
    ) -> str:
        """Start the deploy job on these nodes; returns the build's uuid. Its end comes to the application's inbox."""

    async def read_files(self, project: str, commit: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Texts of those of these paths that exist at the commit; a path that ends in ``/`` means all files below."""
