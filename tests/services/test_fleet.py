"""The fleet service on a real PostgreSQL: rows in, servers, endpoints and names out."""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.asyncresolver
import dns.message
from tests.services.fleet_stage import FILE, PLACES, VANTAGES, Stage, free_port, ports_for

from trunkline.services.fleet import FleetSettings, run_fleet
from trunkline.store import Database, fleet

DEADLINE_S = 40


@asynccontextmanager
async def stage(uri):
    async with await Database.open(uri) as db:
        it = Stage(db, free_port())
        await it.open()
        try:
            yield it
        finally:
            await it.close()


@asynccontextmanager
async def service(it, file, **more):
    """The service in this process; gives the port of its name server."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = FleetSettings(tick_s=0.3, vantages=VANTAGES, dns_port=0, **more)
    running = asyncio.create_task(run_fleet(it.db, settings, ports_for(file), stop, listening=port.set_result))
    try:
        yield await port
    finally:
        stop.set()
        await running


async def until(it, what):
    """Turn the stage until a condition holds."""
    end = time.monotonic() + DEADLINE_S
    while not (found := await what()):
        assert time.monotonic() < end, (await document(it), await it.nodes())
        await it.turn()
        await asyncio.sleep(0.05)
    return found


async def document(it):
    async with it.db.connection() as conn:
        rows = await fleet.endpoints(conn, "acme", "shop")
    return rows[0]["document"] if rows else {"instances": [], "generation": 0}


def serving(it, count, *, commit=None, never=()):
    async def holds():
        found = (await document(it))["instances"]
        fits = [i for i in found if i["healthy"] and i["commit"] == (commit or i["commit"])]
        return len(found) == len(fits) == count and not any(i["provider"] in never for i in found)

    return holds


def test_a_landing_becomes_servers_endpoints_and_names(postgres_uri, tmp_path):
    async def play():
        async with stage(postgres_uri) as it, service(it, FILE.format(port=it.port), endpoints_dir=tmp_path) as port:
            await it.land("c1")
            await until(it, serving(it, 4, commit="c1"))
            found = await document(it)
            assert sorted(i["provider"] for i in found["instances"]) == ["gra", "gra", "lon", "lon"]
            assert {i["port"] for i in found["instances"]} == {it.port}
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], port

            async def resolved():
                answer = await resolver.resolve("www.shop.example", "A", raise_on_no_answer=False)
                return {r.address for r in answer} == {i["address"] for i in found["instances"]}

            await until(it, resolved)
            query = dns.message.make_query("www.shop.example", "A")
            by_tcp = await dns.asyncquery.tcp(query, "127.0.0.1", port=port, timeout=5)
            assert len(by_tcp.answer[0]) == 4
            path = tmp_path / "acme" / "shop.json"

            async def filed():
                return path.exists() and json.loads(path.read_text()) == found

            await until(it, filed)

    asyncio.run(play())


def test_a_dead_region_is_replaced_and_nothing_is_left_when_it_comes_back(postgres_uri):
    async def play():
        async with stage(postgres_uri) as it, service(it, FILE.format(port=it.port)):
            await it.land("c1")
            await until(it, serving(it, 4))
            await it.kill("lon")
            await until(it, serving(it, 4, never=("lon", "dfw")))
            assert sum(row["provider"] == "lon" for row in await it.nodes()) == 2
            await it.revive("lon")

            async def left():
                return not any(row["provider"] == "lon" for row in await it.nodes())

            await until(it, left)
            assert len(await it.nodes()) == 4
            assert not any(row["provider"] == "dfw" for row in await it.nodes())

    asyncio.run(play())


def test_a_new_commit_rolls_on_one_by_one(postgres_uri):
    async def play():
        async with stage(postgres_uri) as it, service(it, FILE.format(port=it.port)):
            await it.land("c1")
            await until(it, serving(it, 4, commit="c1"))
            await it.land("c2")
            await until(it, serving(it, 4, commit="c2"))
            assert [len(d["nodes"]) for d in it.deploys if d["commit"] == "c2"] == [1, 1, 1, 1]

    asyncio.run(play())


def test_a_broken_file_keeps_the_last_good_definition_and_says_where_it_is_broken(postgres_uri):
    async def play():
        async with stage(postgres_uri) as it:
            good = FILE.format(port=it.port)
            async with service(it, good):
                await it.land("c1")
                await until(it, serving(it, 4))
            async with service(it, good.replace("label:", "lable:")):
                await it.land("c2")
                await until(it, serving(it, 4, commit="c2"))
                async with it.db.connection() as conn:
                    (fault,) = await fleet.faults(conn, "acme")
                assert 'unknown key "lable"' in fault["messages"][0]
                assert 'Did you mean "label"?' in fault["messages"][0]

    asyncio.run(play())


def test_a_file_that_is_gone_takes_every_server_with_it(postgres_uri):
    async def play():
        async with stage(postgres_uri) as it:
            async with service(it, FILE.format(port=it.port).replace("ttl: 0", "ttl: 1")):
                await it.land("c1")
                await until(it, serving(it, 4))
            async with service(it, ""):
                await it.land("c2")
                await until(it, serving(it, 0))

                async def leaving():
                    async with it.db.connection() as conn:
                        rows = await fleet.instances(conn, "acme", "shop")
                    return {row["state"] for row in rows} == {"draining"}

                await until(it, leaving)

    asyncio.run(play())


def test_the_service_killed_again_and_again_makes_no_server_twice(postgres_uri, tmp_path):
    async def play():
        async with stage(postgres_uri) as it:
            file = tmp_path / "trunkline.yaml"
            file.write_text(FILE.format(port=it.port))
            program = Path(__file__).with_name("fleet_stage.py")
            await it.land("c1")
            for life_s in (0.6, 0.9, 1.2, 1.5):
                victim = subprocess.Popen([sys.executable, str(program), it.db.dburi, str(file)])
                end = time.monotonic() + life_s
                while time.monotonic() < end:
                    await it.turn()
                    await asyncio.sleep(0.05)
                victim.kill()
                victim.wait()
            async with service(it, file.read_text()):
                await until(it, serving(it, 4, commit="c1"))
            assert it.made == 4
            assert len(it.deploys) <= 2
            assert sorted(PLACES) == ["dfw", "gra", "lon", "sto"]

    asyncio.run(play())


def test_two_services_share_the_work(postgres_uri):
    async def play():
        async with stage(postgres_uri) as it:
            file = FILE.format(port=it.port)
            async with service(it, file), service(it, file):
                await it.land("c1")
                await until(it, serving(it, 4))
                await it.land("c2")
                await until(it, serving(it, 4, commit="c2"))
                assert it.made == 4

    asyncio.run(play())
