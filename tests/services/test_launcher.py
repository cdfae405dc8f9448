"""The launcher on a real PostgreSQL, with machines that are real SSH servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncssh
import msgspec
from tests.pool.play import FLAVOR, IMAGE

from trunkline import store
from trunkline.pool import LabelSpec, ProviderSpec, StaticNode
from trunkline.services.launcher import LauncherOptions, run_launcher
from trunkline.store import events, nodes, regions, requests

T = TypeVar("T")
OWNER = "queue:t/check/x"


async def eventually(look: Callable[[], Awaitable[T | None]], what: str, timeout_s: float = 20.0) -> T:
    """What `look` finds, once it finds something."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        found = await look()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {what}")


@asynccontextmanager
async def launcher(db: store.Database, **options: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_launcher(db, stop, LauncherOptions(**options)))
    try:
        yield
    finally:
        stop.set()
        await task


def lab(*machines: StaticNode) -> ProviderSpec:
    label = LabelSpec("machine", IMAGE, FLAVOR, reuse=True)
    return ProviderSpec("t", "lab", "p/lab", "static", "lab", "lab", "p/lab", labels=(label,), static_nodes=machines)


async def configure(db: store.Database, *specs: ProviderSpec) -> None:
    async with db.transaction() as conn:
        for tenant in {s.tenant for s in specs}:
            await regions.write_specs(conn, tenant, [msgspec.to_builtins(s) for s in specs if s.tenant == tenant])


async def ask(db: store.Database, *labels: str, **more: Any) -> str:
    request_id = str(uuid.uuid4())
    async with db.transaction() as conn:
        await requests.create(conn, id=request_id, owner=OWNER, tenant="t", labels=labels, **more)
    return request_id


async def answer(db: store.Database, request_id: str, timeout_s: float = 20.0) -> dict[str, Any]:
    """The event that answers a request."""

    async def look() -> dict[str, Any] | None:
        async with db.connection() as conn:
            waiting = await events.waiting(conn, OWNER)
        return next((row["event"] for row in waiting if row["event"].get("request") == request_id), None)

    return await eventually(look, f"an answer to {request_id}", timeout_s)


def test_static_machines_are_read_handed_out_and_come_back(postgres_uri: str):
    async def scenario() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        async with (
            asyncssh.listen("127.0.0.1", 0, server_host_keys=[key]) as machine,
            await store.Database.open(postgres_uri) as db,
            launcher(db, hostname="here"),
        ):
            await configure(db, lab(StaticNode("127.0.0.1", "machine", machine.get_port(), "ci")))
            first = await ask(db, "machine")
            said = await answer(db, first)
            assert said["kind"] == "nodes-ready"
            assert said["provider"] == "p/lab"
            async with db.transaction() as conn:
                (node,) = await nodes.of_request(conn, first)
                await nodes.mark(conn, [node["id"]], "in-use", locked_by="executor-1")
            assert node["interface_ip"] == "127.0.0.1"
            assert node["username"] == "ci"
            assert node["host_keys"] == [" ".join(key.export_public_key().decode().split()[:2])]
            second = await ask(db, "machine")
            async with db.transaction() as conn:
                await requests.return_nodes(conn, first)
            assert (await answer(db, second))["nodes"] == [node["id"]]

    asyncio.run(scenario())


def test_what_nobody_has_is_refused_with_the_reasons(postgres_uri: str):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db, launcher(db):
            await configure(db, lab())
            said = await answer(db, await ask(db, "windows"))
            assert said["kind"] == "nodes-failed"
            assert "has no label windows" in said["reason"]

    asyncio.run(scenario())


def test_two_launchers_share_the_work_and_one_takes_over_from_the_other(postgres_uri: str):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            async with launcher(db, hostname="one"), launcher(db, hostname="two"):
                await configure(db, lab(StaticNode("127.0.0.1", "machine", host_key="ssh-ed25519 AAAA")))
                assert (await answer(db, await ask(db, "machine")))["kind"] == "nodes-ready"
            async with launcher(db, hostname="three"):

                async def taken() -> bool:
                    async with db.connection() as conn:
                        return [r["launcher"] for r in await regions.listed(conn)] == ["three"]

                await eventually(taken, "the third launcher holds the region")

    asyncio.run(scenario())


def test_a_canceled_request_is_not_answered(postgres_uri: str):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            await configure(db, lab(StaticNode("127.0.0.1", "machine", host_key="ssh-ed25519 AAAA")))
            first = await ask(db, "machine")
            async with db.transaction() as conn:
                await requests.cancel(conn, first)
            async with launcher(db):
                assert (await answer(db, await ask(db, "machine")))["kind"] == "nodes-ready"
            async with db.connection() as conn:
                assert first not in [row["event"]["request"] for row in await events.waiting(conn, OWNER)]

    asyncio.run(scenario())
