"""A real source: PostgreSQL with a tenant whose configuration was read, a queue under way, finished builds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from trunkline.gate import Change, Item, Queue, QueueSettings
from trunkline.gate.model import (
    BuildId,
    Dependency,
    Future,
    FutureId,
    FutureState,
    Grant,
    ItemId,
    JobId,
    JobSpec,
    Manager,
    QueueId,
    RefKey,
    RequestId,
    Run,
    RunState,
)
from trunkline.services.layouts import Layouts
from trunkline.services.settings import Settings
from trunkline.services.sources import Sources
from trunkline.services.tenants import read_tenant_file
from trunkline.services.web_source import StoreSource
from trunkline.store import Database, builds, components, configuration, queues
from trunkline.store import web as reads

CONF = """\
[database]
dburi={uri}
[scheduler]
tenant_config={folder}/main.yaml
state_dir={folder}
[keystore]
password=for the tests
[web]
root=http://127.0.0.1:9700/
[connection gerrit]
driver=gerrit
server=127.0.0.1
port=29418
baseurl=http://127.0.0.1:8190
user=zuul
"""
TENANTS = """\
- authorization-rule: {name: staff, conditions: [{team: a}]}
- tenant:
    name: meadow
    admin-rules: [staff]
    source:
      gerrit:
        config-projects: [config]
        untrusted-projects: [site/p1, site/p2]
"""
BASE = """\
- pipeline:
    name: check
    manager: independent
    trigger: {gerrit: [{event: patchset-created}]}
    success: {gerrit: {Verified: 1}}
- pipeline:
    name: gate
    manager: dependent
    trigger: {gerrit: [{event: comment-added}]}
    success: {gerrit: {Verified: 2, submit: true}}
- job:
    name: base
    parent: null
    run: playbooks/run.yaml
    vars: {duel_control: "http://127.0.0.1:9701"}
- job: {name: first}
- job: {name: second, dependencies: [first], voting: false}
- semaphore: {name: sem, max: 2}
- queue: {name: meadow}
- project:
    name: site/p1
    queue: meadow
    gate: {jobs: [first, second]}
    check: {jobs: [first]}
"""
CANONICAL = "127.0.0.1/site/p1"
KEY = RefKey("gerrit:site/p1:7,2")


async def installation(db: Database, folder: Path, base: str = BASE) -> StoreSource:
    (folder / "main.yaml").write_text(TENANTS)
    (folder / "trunkline.conf").write_text(CONF.format(uri=db.dburi.replace("%", "%%"), folder=folder))
    settings = Settings.read(folder / "trunkline.conf")
    sources = Sources.open(settings)
    source = StoreSource(db, settings, sources, Layouts(sources.specs))
    file = read_tenant_file(settings, sources)
    assert not file.errors, file.errors
    async with db.transaction() as conn:
        for position, (name, spec) in enumerate(file.tenants.items()):
            await configuration.put_tenant(conn, name, position, msgspec.to_builtins(spec))
        for project in ("config", "site/p1", "site/p2"):
            await configuration.put_project(conn, "gerrit", project, "master", {"master": "0" * 40})
        await configuration.put_blobs(conn, {"blob": base})
        await configuration.put_branch(conn, "gerrit", "config", "master", "", "0" * 40, {"zuul.yaml": "blob"})
        await configuration.reached(conn, "meadow", 1, "first")
        for kind in ("scheduler", "executor", "web"):
            await components.beat(
                conn, kind=kind, hostname="ci1", instance="1", state="running", pid=1, version="0.1.0"
            )
    return source


def change() -> Change:
    return Change(
        key=KEY,
        project=CANONICAL,
        connection="gerrit",
        branch="master",
        number=7,
        patchset="2",
        ref="refs/changes/07/7/2",
        url="http://127.0.0.1:8190/c/site/p1/+/7",
        owner="bob",
    )


async def history(db: Database, *, number: int = 7, result: str = "SUCCESS", took_s: float = 40.0) -> tuple[str, str]:
    """One finished buildset of one build. Returns their ids."""
    buildset, build = f"{number:032x}", f"{number + 4096:032x}"
    async with db.transaction() as conn:
        ref = await builds.ref_id(
            conn,
            connection="gerrit",
            canonical=CANONICAL,
            project="site/p1",
            branch="master",
            change=number,
            patchset="2",
            ref=f"refs/changes/{number % 100:02d}/{number}/2",
            oldrev=None,
            newrev=None,
            ref_url="http://127.0.0.1:8190/c/site/p1/+/7",
        )
        await builds.create_buildset(
            conn,
            uuid=buildset,
            tenant="meadow",
            pipeline="gate",
            owner="queue:meadow/gate/meadow",
            item=f"{number + 100:032x}",
            event_id="e" * 32,
            event_at=time.time() - 60,
            refs=[ref],
            triggered_by="Triggered by GerritChange site/p1 7,2",
        )
        await builds.create(
            conn,
            uuid=build,
            buildset=buildset,
            owner="queue:meadow/gate/meadow",
            tenant="meadow",
            pipeline="gate",
            job="first",
            ref=ref,
            voting=True,
            nodeset="",
            attempt=1,
            request=None,
        )
        await builds.claim(conn, build, "127.0.0.1:7900")
        nothing: dict[str, Any] = {"error_detail": None, "log_url": None, "data": {}, "secret_data": None}
        await builds.keep_outcome(conn, build, result=result, artifacts=[], warnings=[], **nothing)
        await builds.record(conn, build, result=result, final=True, error_detail=None, at=None)
        await conn.execute(
            "update builds set start_time = end_time - make_interval(secs => %s) where uuid = %s", (took_s, build)
        )
        await builds.close_buildset(conn, buildset, result, "Build succeeded.")
    return buildset, build


async def under_way(db: Database) -> None:
    """A gate queue: one item whose first job runs and whose second waits for it; a failing one behind it."""
    now = time.time()
    first = JobSpec("first", JobId("first"))
    second = JobSpec("second", JobId("second"), voting=False, dependencies=(Dependency("first"),))
    second = msgspec.structs.replace(second, parents=((JobId("first"), False),))
    running = Run(RunState.RUNNING, build=BuildId("b" * 32), tries=1, started_at=now - 10, requests=1, nodes=Grant.HAD)
    waiting = Run(nodes=Grant.ASKED, request=RequestId("c" * 32), requests=1)
    head = Item(
        ItemId("1" * 32),
        (change(),),
        enqueued_at=now - 20,
        future=Future(
            FutureId("f" * 32),
            state=FutureState.READY,
            graph={JobId("first"): first, JobId("second"): second},
            runs={JobId("first"): running, JobId("second"): waiting},
        ),
    )
    other = msgspec.structs.replace(change(), key=RefKey("gerrit:site/p1:8,1"), number=8, patchset="1")
    behind = Item(
        ItemId("2" * 32),
        (other,),
        enqueued_at=now - 5,
        failing=("it has a merge conflict",),
        future=Future(FutureId("d" * 32), base=FutureId("f" * 32), state=FutureState.CONFLICT),
    )
    third = Item(ItemId("3" * 32), (msgspec.structs.replace(other, key=RefKey("gerrit:site/p1:9,1"), number=9),))
    settings = QueueSettings(manager=Manager.DEPENDENT, tenant="meadow", pipeline="gate", name="meadow")
    queue = Queue(
        QueueId("meadow/gate/meadow"),
        settings,
        window=2,
        order=(head.id, behind.id, third.id),
        items={item.id: item for item in (head, behind, third)},
    )
    async with db.transaction() as conn:
        await queues.ensure(
            conn,
            queue.id,
            tenant="meadow",
            pipeline="gate",
            name="meadow",
            branch=None,
            state=msgspec.json.encode(queue),
        )


__all__ = ["BASE", "CANONICAL", "change", "history", "installation", "reads", "under_way"]
