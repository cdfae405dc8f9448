"""The production source over PostgreSQL, by HTTP; its answers have the recorded shapes."""

import asyncio
import importlib.util
import json
import re

import msgspec
import pytest

from tests.shared import SHARED, needs_shared
from tests.web.installation import BASE, history, installation, under_way
from tests.web.serving import AUTH, SECTION, admin, serving, token
from trunkline.fleet import AppState
from trunkline.fleet.model import (
    Application,
    Condition,
    Deploy,
    Dns,
    Health,
    Instance,
    InstanceId,
    InstanceState,
    Rollout,
    RolloutState,
    Status,
)
from trunkline.services.fleet_endpoints import document
from trunkline.store import Database, configuration, events, fleet
from trunkline.web import Authenticators, WebSettings

T = "/api/tenant/meadow"


def on_store(postgres_uri, tmp_path, scene, base=BASE, auth=AUTH):
    async def run():
        async with asyncio.timeout(60), await Database.open(postgres_uri) as db:
            source = await installation(db, tmp_path, base)
            async with serving(source, auth, WebSettings(status_fresh_s=0)) as site:
                return await scene(site, db, source)

    return asyncio.run(run())


@needs_shared
def test_answers_have_the_recorded_shapes(postgres_uri, tmp_path):
    path = SHARED / "tools" / "duel"
    spec = importlib.util.spec_from_file_location("shapes", path / "shapes.py")
    shapes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shapes)
    recorded = json.loads((path / "shapes" / "zuul.json").read_text())
    auth = Authenticators.read({"duel": {**SECTION, "realm": "duel"}})

    async def scene(site, db, source):
        buildset, build = await history(db)
        await under_way(db)

        async def get(route):
            status, body, _ = await site.get(route)
            assert status == 200, route
            return body

        status = await get(f"{T}/status")
        gate = next(pipeline for pipeline in status["pipelines"] if pipeline["name"] == "gate")
        queue = gate["change_queues"][0]
        branch = f"{T}/pipeline/gate/project/site/p1/branch/master"
        got = {
            "status": {k: v for k, v in status.items() if k not in ("pipelines", "connection_event_queues")},
            "status pipeline": {k: v for k, v in gate.items() if k != "change_queues"},
            "status queue": {k: v for k, v in queue.items() if k != "heads"},
            "status item": queue["heads"][0][0],
            "status change": await get(f"{T}/status/change/7,2"),
            "builds": await get(f"{T}/builds"),
            "build": await get(f"{T}/build/{build}"),
            "buildsets": await get(f"{T}/buildsets"),
            "buildset": await get(f"{T}/buildset/{buildset}"),
            "build-times": await get(f"{T}/build-times"),
            "tenants": await get("/api/tenants"),
            "info": await get(f"{T}/info"),
            "root info": await get("/api/info"),
            "connections": await get("/api/connections"),
            "components": await get("/api/components"),
            "jobs": [job for job in await get(f"{T}/jobs") if job["name"] in ("first", "second")],
            "job": await get(f"{T}/job/second"),
            "projects": await get(f"{T}/projects"),
            "project": await get(f"{T}/project/site/p1"),
            "pipelines": await get(f"{T}/pipelines"),
            "semaphores": await get(f"{T}/semaphores"),
            "freeze-jobs": await get(f"{branch}/freeze-jobs"),
            "freeze-job": await get(f"{branch}/freeze-job/second"),
            "tenant-status": await get(f"{T}/tenant-status"),
        }
        shape = {name: shapes.of(value) for name, value in got.items()}
        assert shapes.compare(recorded, shape) == []

    on_store(postgres_uri, tmp_path, scene, auth=auth)


def test_status_shows_who_stands_on_whom_and_what_jobs_wait_for(postgres_uri, tmp_path):
    async def scene(site, db, source):
        await history(db, number=5, took_s=30)
        await history(db, number=6, took_s=50)
        await under_way(db)
        _, status, _ = await site.get(f"{T}/status")
        gate = next(pipeline for pipeline in status["pipelines"] if pipeline["name"] == "gate")
        ((head, behind, third),) = gate["change_queues"][0]["heads"]
        assert (behind["item_ahead"], third["item_ahead"]) == (head["id"], head["id"])
        assert head["items_behind"] == [behind["id"], third["id"]]
        assert [item["active"] for item in (head, behind, third)] == [True, True, False]
        assert behind["failing_reasons"] == ["it has a merge conflict"]
        first, second = head["jobs"]
        assert first["estimated_time"] == 40.0
        assert 25_000 <= first["remaining_time"] <= 30_000
        assert first["url"] == f"stream/{'b' * 32}?logfile=console.log"
        assert second["waiting_status"] == "dependencies: first"
        assert head["remaining_time"] is None
        assert head["refs"][0] == {
            "id": "7,2",
            "url": "http://127.0.0.1:8190/c/site/p1/+/7",
            "ref": "refs/changes/07/7/2",
            "project": "site/p1",
            "project_canonical": "127.0.0.1/site/p1",
            "owner": "bob",
        }

    on_store(postgres_uri, tmp_path, scene)


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("", [9, 8, 7]),
        ("project=site/p1", [9, 8, 7]),
        ("project=127.0.0.1/site/p1", [9, 8, 7]),
        ("project=site/*", [9, 8, 7]),
        ("project=site/p_", []),
        ("project=nothing*", []),
        ("change=8", [8]),
        ("change=8&change=7", [8, 7]),
        ("result=FAILURE", [8]),
        ("exclude_result=FAILURE", [9, 7]),
        ("job_name=fir*&pipeline=ga*&branch=mas*", [9, 8, 7]),
        ("complete=false", []),
        ("final=true&voting=1", [9, 8, 7]),
        ("held=true", []),
        ("limit=1", [9]),
        ("limit=1&skip=1", [8]),
        ("idx_max=2", [8, 7]),
        ("idx_min=2&idx_max=2", [8]),
        ("patchset=2&ref=refs/changes/07/7/2", [7]),
    ],
)
def test_builds_and_buildsets_are_found_by_their_filters(postgres_uri, tmp_path, query, changes):
    async def scene(site, db, source):
        for number, result in ((7, "SUCCESS"), (8, "FAILURE"), (9, "SUCCESS")):
            await history(db, number=number, result=result)
        status, found, _ = await site.get(f"{T}/builds?{query}")
        assert status == 200
        assert [build["ref"]["change"] for build in found] == changes
        if not {"job_name", "final", "held"} & {part.partition("=")[0] for part in query.split("&")}:
            _, sets, _ = await site.get(f"{T}/buildsets?{query}")
            assert [buildset["refs"][0]["change"] for buildset in sets] == changes

    on_store(postgres_uri, tmp_path, scene)


def test_actions_go_to_the_router_of_the_projects_connection(postgres_uri, tmp_path):
    async def scene(site, db, source):
        path = f"{T}/project/site/p1"
        assert (await site.post(f"{path}/enqueue", {"pipeline": "gate", "change": "7,2"}, headers=admin()))[0] == 200
        assert (await site.post(f"{path}/dequeue", {"pipeline": "gate", "change": "7,2"}, headers=admin()))[0] == 200
        promote = {"pipeline": "gate", "changes": ["7,2"]}
        staff = {"Authorization": f"Bearer {token(team='a')}"}
        assert (await site.post(f"{T}/promote", promote, headers=staff))[0] == 200
        for bad, code in (({"pipeline": "x", "change": "7,2"}, 400), ({"pipeline": "gate", "change": "seven"}, 400)):
            assert (await site.post(f"{path}/enqueue", bad, headers=admin()))[0] == code
        assert (await site.post(f"{T}/project/p9/enqueue", promote | {"change": "1,1"}, headers=admin()))[0] == 404
        async with db.transaction() as conn:
            asked = [row["event"] for row in await events.waiting(conn, "router:gerrit")]
        assert [(e["kind"], e["pipeline"], e.get("project")) for e in asked] == [
            ("enqueue", "gate", "127.0.0.1/site/p1"),
            ("dequeue", "gate", "127.0.0.1/site/p1"),
            ("promote", "gate", None),
        ]

    on_store(postgres_uri, tmp_path, scene)


def test_holds_switches_and_keys_are_kept_in_the_store(postgres_uri, tmp_path):
    async def scene(site, db, source):
        hold = {"job": "first", "count": 2, "reason": "r", "node_hold_expiration": 60, "change": "7,2", "ref": None}
        assert (await site.post(f"{T}/project/site/p1/autohold", hold, headers=admin()))[:2] == (200, True)
        _, (found,), _ = await site.get(f"{T}/autohold")
        assert found == {
            "id": "0000000001",
            "tenant": "meadow",
            "project": "127.0.0.1/site/p1",
            "job": "first",
            "ref_filter": "refs/changes/07/7/.*",
            "max_count": 2,
            "current_count": 0,
            "reason": "r",
            "node_expiration": 60,
            "expired": None,
            "nodes": [],
        }
        assert (await site.ask("DELETE", f"{T}/autohold/0000000001", headers=admin()))[0] == 204
        assert (await site.get(f"{T}/autohold"))[1] == []
        await site.post(f"{T}/state", {"trigger_queue_paused": True, "reason": "upgrade"}, headers=admin())
        state = (await site.get(f"{T}/status"))[1]["state"]
        assert (state["trigger_queue_paused"], state["reason"]) == (True, "upgrade")
        _, key, _ = await site.get(f"{T}/key/site/p1.pub")
        assert key.startswith("-----BEGIN PUBLIC KEY-----")
        assert (await site.get(f"{T}/key/site/p1.pub"))[1] == key
        assert (await site.get(f"{T}/project-ssh-key/site/p1.pub"))[1].startswith("ssh-rsa ")
        assert (await site.get(f"{T}/key/site/p9.pub"))[0] == 404

    on_store(postgres_uri, tmp_path, scene)


def test_every_page_renders_from_the_store(postgres_uri, tmp_path):
    async def scene(site, db, source):
        buildset, build = await history(db)
        await under_way(db)
        async with db.transaction() as conn:
            await conn.execute(
                "insert into regions (cloud, region, provider, vendor, city, country, jurisdiction, lat, lon, seen)"
                " values ('lumen', 'London1', 'lumen', 'lumen', 'London', 'GB', 'GB', 51.5, -0.1, now())"
            )
        pages = ("status", "builds", "pool", "fleet", "config", f"build/{build}", f"buildset/{buildset}", "change/7,2")
        for page in pages:
            status, body, _ = await site.get(f"/t/meadow/{page}")
            assert status == 200, page
        assert "Triggered by GerritChange" in body
        assert "is at the head of queue meadow in gate" in re.sub(r"\s+", " ", body)

    on_store(postgres_uri, tmp_path, scene)


def test_an_application_is_shown_with_its_instances_and_where_they_are(postgres_uri, tmp_path):
    place = {"label": "debian", "cloud": "lumen", "region": "London1", "provider": "lumen", "vendor": "lumen"}
    place |= {"jurisdiction": "GB", "country": "GB", "city": "London", "created": 1.0, "state_since": 1.0}

    def instance(number, health):
        return Instance(
            InstanceId(f"shop-{number}"),
            InstanceState.RUNNING,
            address=f"127.64.0.{number}",
            commit="c" * 40,
            health=health,
            published=health is Health.HEALTHY,
            **place,
        )

    async def scene(site, db, source):
        shop = Application("shop", "debian", 2, Deploy("deploy-shop", "shop"), dns=Dns("example.com", "shop"))
        bare = AppState("meadow", shop, project="127.0.0.1/site/p1", branch="master", target="c" * 40)
        instances = (instance(1, Health.HEALTHY), instance(2, Health.UNHEALTHY))
        rollout = Rollout("c" * 40, RolloutState.RUNNING, 1.0)
        state = msgspec.structs.replace(bare, instances=instances, rollout=rollout)
        status = Status(Condition.ROLLING, ("1 of 2 instances is healthy",), serving=1, wanted=2)
        async with db.transaction() as conn:
            await conn.execute(
                "insert into regions (cloud, region, provider, lat, lon) values ('lumen', 'London1', 'lumen', 51.5, 0)"
            )
            await fleet.add(conn, bare, "trunkline.yaml:1")
            await fleet.save(conn, await fleet.load(conn, "meadow", "shop"), state, status)
            await fleet.publish(conn, "meadow", "shop", document(state))
        _, (app,), _ = await site.get(f"{T}/applications")
        assert (app["wanted"], app["healthy"], app["state"]) == (2, 1, "rolling")
        assert app["reason"] == "1 of 2 instances is healthy"
        assert [one["state"] for one in app["instances"]] == ["healthy", "unhealthy"]
        assert app["instances"][0]["lat"] == 51.5
        assert app["endpoints"][0] == {"name": "shop.example.com", "ttl": 30}
        assert app["endpoints"][1]["address"].startswith("127.64.0.1:")
        assert app["rollout"]["text"] == "cccccccccc on 1 of 2 instances"
        _, published, _ = await site.get(f"{T}/application/shop/endpoints")
        assert [one["id"] for one in published["instances"]] == ["shop-1"]
        _, body, _ = await site.get("/t/meadow/fleet")
        assert "1 of 2 healthy" in body
        assert "London" in body

    on_store(postgres_uri, tmp_path, scene)


def test_a_broken_definition_is_an_error_with_its_place(postgres_uri, tmp_path):
    async def scene(site, db, source):
        _, (error,), _ = await site.get(f"{T}/config-errors")
        assert error["severity"] == "error"
        assert error["source_context"] == {"project": "config", "branch": "master", "path": "zuul.yaml"}
        assert "nodest" in error["error"]

    on_store(postgres_uri, tmp_path, scene, BASE + "- job: {name: third, nodest: x}\n")


def test_pages_hear_of_what_the_store_says(postgres_uri, tmp_path):
    async def scene(site, db, source):
        following = asyncio.create_task(source.follow())
        async with site.session.get(f"{site.url}{T}/events") as answer:
            await answer.content.readuntil(b"data: 1\n\n")

            async def tell():
                while True:
                    async with db.transaction() as conn:
                        await configuration.reached(conn, "meadow", 2, "second")
                    await asyncio.sleep(0.2)

            telling = asyncio.create_task(tell())
            said = await answer.content.readuntil(b"\n\n")
            while b"config" not in said:
                said = await answer.content.readuntil(b"\n\n")
            telling.cancel()
        following.cancel()

    on_store(postgres_uri, tmp_path, scene)
