"""The launcher on emulated clouds whose servers are real SSH hosts: what it makes, survives and leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import openstack.config
import pytest
from msgspec.structs import replace
from tests.clouds.emulator import Emulator, emulated_clouds
from tests.services import launcher_process
from tests.services.test_launcher import answer, ask, configure, eventually, launcher

from trunkline import store
from trunkline.pool import FlavorSpec, ImageSpec, LabelSpec, Policy, ProviderSpec
from trunkline.services.launcher_region import Pace
from trunkline.store import nodes, regions, requests

PACE = Pace(busy_s=0.2, idle_s=0.5, facts_s=5.0, sweep_s=0.5, grace_s=2.0, api_timeout_s=3.0)
IMAGE = ImageSpec("debian", image_id="debian-12", username="debian", connection_port=2222)
LABEL = LabelSpec("small", IMAGE, FlavorSpec("small", "small"), boot_timeout_s=30)
CITY, OVH, OTC, RAX = "citycloud-like", "ovh-like", "otc-like", "rax-like"


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulated_clouds(tmp_path_factory.mktemp("clouds")) as emulator:
        yield emulator


def provider(clouds: Emulator, cloud: str, label: LabelSpec = LABEL, **changes: Any) -> ProviderSpec:
    region = dict(clouds.regions)[cloud]
    spec = ProviderSpec("t", cloud, f"p/{cloud}", "openstack", cloud, cloud, region, labels=(label,), rate=200.0)
    return replace(spec, launch_timeout_s=20, **changes)


def options(clouds: Emulator, **more: Any) -> dict[str, Any]:
    return {
        "clouds_file": clouds.clouds_yaml,
        "pace": PACE,
        "plan_every_s": 0.5,
        "policy": Policy(surplus_s=1.0),
        **more,
    }


async def owner_of(db: store.Database) -> str:
    async with db.connection() as conn:
        return await regions.identity(conn)


async def nothing_left(db: store.Database, clouds: Emulator) -> None:
    """The clouds themselves say that no server or floating IP of ours is there."""
    owner = await owner_of(db)

    async def left() -> list[Any]:
        async with db.connection() as conn:
            rows = [f"{row['cloud']} {row['id']} {row['state']}" for row in await nodes.listed(conn)]
        return [*rows, *clouds.servers_of(owner), *clouds.alive("floating_ip")]

    deadline = asyncio.get_running_loop().time() + 60.0
    while found := await left():
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.1)


async def all_seen(db: store.Database, count: int) -> None:
    async def look() -> bool:
        async with db.connection() as conn:
            return sum(row["seen"] is not None and bool(row["offer"]) for row in await regions.listed(conn)) == count

    await eventually(look, "every region was looked at", 60.0)


async def give_back(db: store.Database, *request_ids: str) -> None:
    async with db.transaction() as conn:
        for request_id in request_ids:
            for node in await nodes.of_request(conn, request_id):
                await nodes.mark(conn, [node["id"]], "in-use", locked_by="x")
            await requests.return_nodes(conn, request_id)


def test_sets_are_served_by_four_vendors_and_leave_nothing(postgres_uri: str, clouds: Emulator):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db, launcher(db, **options(clouds)):
            await configure(db, *(provider(clouds, c) for c in (CITY, OVH, OTC, RAX)))
            await all_seen(db, 4)
            asked = [await ask(db, *["small"] * (1 + i % 2)) for i in range(8)]
            used: set[str] = set()
            for request_id in asked:
                said = await answer(db, request_id, 40.0)
                assert said["kind"] == "nodes-ready", said
                async with db.connection() as conn:
                    mine = await nodes.of_request(conn, request_id)
                assert len({node["region"] for node in mine}) == 1, "a set is in one region"
                assert all(node["host_keys"] and node["interface_ip"] and node["host_id"] for node in mine)
                used |= {node["cloud"] for node in mine}
            assert len(used) >= 3, "load is spread"
            async with db.connection() as conn:
                known = {row["cloud"]: row for row in await regions.listed(conn)}
            assert known[CITY]["city"] == "London"
            assert known[OVH]["jurisdiction"] == "EU"
            assert {row["state"] for row in known.values()} == {"healthy"}
            await give_back(db, *asked)
            await nothing_left(db, clouds)

    asyncio.run(scenario())


def test_a_server_that_never_answers_is_deleted_and_replaced_elsewhere(postgres_uri: str, clouds: Emulator):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            await configure(db, *(replace(provider(clouds, c), launch_timeout_s=3) for c in (OVH, CITY)))
            with clouds.fault("never-ssh", cloud=OVH):
                async with launcher(db, **options(clouds)):
                    asked = [await ask(db, "small") for _ in range(3)]
                    for request_id in asked:
                        assert (await answer(db, request_id, 40.0))["provider"] == f"p/{CITY}"
                    await give_back(db, *asked)
                    await nothing_left(db, clouds)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "scope"),
    [("no-valid-host", {}), ("boot-error", {}), ("quota-full", {}), ("create-500", {"count": 2})],
)
def test_what_one_cloud_refuses_another_does(postgres_uri: str, clouds: Emulator, kind: str, scope: dict[str, Any]):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            await configure(db, *(provider(clouds, c) for c in (OVH, CITY)))
            with clouds.fault(kind, cloud=OVH, **scope):
                async with launcher(db, **options(clouds)):
                    asked = [await ask(db, "small") for _ in range(3)]
                    for request_id in asked:
                        assert (await answer(db, request_id, 40.0))["kind"] == "nodes-ready"
                    await give_back(db, *asked)
                    await nothing_left(db, clouds)

    asyncio.run(scenario())


def test_a_region_that_dies_is_circled_out_and_clean_when_it_comes_back(postgres_uri: str, clouds: Emulator):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db, launcher(db, **options(clouds)):
            specs = [provider(clouds, c) for c in (OVH, CITY)]
            await configure(db, *specs)
            first = await ask(db, "small", provider=OVH, keep=True)
            await answer(db, first)
            with clouds.fault("region-down", cloud=OVH, servers=True):

                async def circled() -> str | None:
                    async with db.connection() as conn:
                        row = await regions.get(conn, OVH, "GRA1")
                    return row["reason"] if row and row["state"] == "down" else None

                waiting = await ask(db, "small")
                assert await eventually(circled, "the region is circled out, with a reason", 30.0)
                assert (await answer(db, waiting, 30.0))["provider"] == f"p/{CITY}"
                async with db.transaction() as conn:
                    await requests.return_nodes(conn, first)
            await give_back(db, waiting)
            await nothing_left(db, clouds)

    asyncio.run(scenario())


def test_refused_credentials_send_the_work_elsewhere_and_say_so(postgres_uri: str, clouds: Emulator, tmp_path: Path):
    broken = tmp_path / "clouds.yaml"
    text = Path(clouds.clouds_yaml).read_text()
    head, _, tail = text.partition(f"  {OVH}:")
    broken.write_text(head + f"  {OVH}:" + tail.replace("password: example", "password: wrong", 1))

    async def scenario() -> None:
        async with (
            await store.Database.open(postgres_uri) as db,
            launcher(db, **options(clouds, clouds_file=str(broken))),
        ):
            await configure(db, *(provider(clouds, c) for c in (OVH, CITY)))
            request = await ask(db, "small")
            assert (await answer(db, request))["provider"] == f"p/{CITY}"

            async def reason() -> str | None:
                async with db.connection() as conn:
                    row = await regions.get(conn, OVH, "GRA1")
                return row["reason"] if row and row["state"] == "down" else None

            assert "credentials refused" in await eventually(reason, "the reason is shown")
            await give_back(db, request)
            await nothing_left(db, clouds)

    asyncio.run(scenario())


def test_leaks_are_deleted_on_sight_and_others_servers_never(postgres_uri: str, clouds: Emulator):
    loader = openstack.config.OpenStackConfig(config_files=[clouds.clouds_yaml], load_envvars=False)
    conn = openstack.connection.Connection(config=loader.get_one(cloud=OVH))
    flavor, image = next(iter(conn.compute.flavors())), next(iter(conn.image.images()))
    network = next(iter(conn.network.networks()))

    def make(name: str, **metadata: str) -> str:
        networks = [{"uuid": network.id}]
        server = conn.compute.create_server(
            name=name, flavor_id=flavor.id, image_id=image.id, networks=networks, metadata=metadata
        )
        return str(server.id)

    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            owner = await owner_of(db)
            ours = make("lost", trunkline_owner=owner, trunkline_node="no-such-node")
            theirs = make("theirs", trunkline_owner="somebody else", trunkline_node="x")
            plain = make("np00000000-0000")
            async with launcher(db, **options(clouds)):
                await configure(db, provider(clouds, OVH))
                await nothing_left(db, clouds)
                left = {server["id"] for server in clouds.alive()}
                assert ours not in left
                assert {theirs, plain} <= left

                async def counted() -> bool:
                    async with db.connection() as conn:
                        row = await regions.get(conn, OVH, "GRA1")
                    return bool(row and row["quota"]["unmanaged"].get("instances") == 2)

                await eventually(counted, "what others use is taken off the quota")
        for server_id in (theirs, plain):
            conn.compute.delete_server(server_id)

    asyncio.run(scenario())


def test_killed_at_any_moment_it_loses_nothing_and_leaks_nothing(postgres_uri: str, clouds: Emulator):
    async def scenario() -> None:
        async with await store.Database.open(postgres_uri) as db:
            await configure(db, *(provider(clouds, c) for c in (CITY, OVH, OTC)))
            asked = [await ask(db, *["small"] * (1 + i % 2)) for i in range(6)]
            owner = await owner_of(db)
            process = launcher_process.start(postgres_uri, **options(clouds))
            try:
                for servers in (1, 4, 7):
                    await eventually(
                        lambda n=servers: asyncio.to_thread(lambda: len(clouds.servers_of(owner)) >= n), "servers", 90.0
                    )
                    process.kill()
                    process.join()
                    process = launcher_process.start(postgres_uri, **options(clouds))
                told = [await answer(db, request_id, 60.0) for request_id in asked]
                assert {said["kind"] for said in told} == {"nodes-ready"}
                given = [node for said in told for node in said["nodes"]]
                assert len(given) == len(set(given)) == 9, "no node was given twice"
                process.kill()
                process.join()
                await give_back(db, *asked)
                process = launcher_process.start(postgres_uri, **options(clouds))
                await nothing_left(db, clouds)
            finally:
                process.kill()
                process.join()

    asyncio.run(scenario())
