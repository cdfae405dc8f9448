"""What a tenant's switches, failing pipelines and holds leave in the store."""

import asyncio

from psycopg.types.json import Jsonb

from trunkline.executor import BuildOutcome
from trunkline.services.advancing import WAITING_RESULTS
from trunkline.services.holding import held_for, hold_nodes
from trunkline.services.routing import go_on, held_back
from trunkline.store import Database, autoholds, builds, configuration, events, pipelines, queues, web

TRIGGER = {
    "connection": "gerrit",
    "driver": "gerrit",
    "delivery": "d",
    "type": "comment-added",
    "project": "p",
    "at": 1.0,
}


def with_store(uri, play):
    async def run():
        async with await Database.open(uri) as db, db.transaction() as conn:
            return await play(conn)

    return asyncio.run(run())


def test_held_triggers_are_routed_for_their_tenant_alone_when_it_goes_on(postgres_uri):
    async def play(conn):
        await events.post(conn, held_back("t"), TRIGGER)
        await go_on(conn, "t", discard=False)
        return await events.waiting(conn, "router:gerrit"), await events.waiting(conn, held_back("t"))

    routed, held = with_store(postgres_uri, play)
    assert [(row["event"]["only"], row["event"]["event"]["delivery"]) for row in routed] == [("t", "d")]
    assert held == []


def test_discarded_triggers_are_gone(postgres_uri):
    async def play(conn):
        await events.post(conn, held_back("t"), TRIGGER)
        await go_on(conn, "t", discard=True)
        return await events.waiting(conn, "router:gerrit"), await events.waiting(conn, held_back("t"))

    assert with_store(postgres_uri, play) == ([], [])


def test_results_wait_while_the_tenant_says_so_and_the_rest_is_taken(postgres_uri):
    async def play(conn):
        await configuration.put_tenant(conn, "t", 0, {})
        await queues.ensure(conn, "t/gate/q", tenant="t", pipeline="gate", name="q", branch=None, state=b"{}")
        await events.post(conn, "queue:t/gate/q", {"type": "BuildCompleted"})
        await events.post(conn, "queue:t/gate/q", {"type": "Enqueue"})
        await events.post(conn, "queue:t/gate/q", {"kind": "nodes-ready"})
        await web.set_tenant_state(conn, "t", {"result_queue_paused": True})
        row = await queues.lock(conn, "t/gate/q")
        paused = await events.waiting(conn, "queue:t/gate/q", without=WAITING_RESULTS)
        return row["results_wait"], [e["event"] for e in paused]

    assert with_store(postgres_uri, play) == (True, [{"type": "Enqueue"}])


def test_a_pipeline_is_disabled_after_failures_in_a_row_until_its_layout_is_new(postgres_uri):
    async def play(conn):
        said = []
        for generation, failed in ((1, True), (1, False), (1, True), (1, True), (1, None), (1, True), (2, True)):
            said.append(await pipelines.note_result(conn, "t", "check", generation, failed, 2))
        return said

    assert with_store(postgres_uri, play) == [False, False, False, False, True, True, False]


def test_who_enqueued_by_hand_is_known_as_long_as_the_item_is_there(postgres_uri):
    async def play(conn):
        await queues.note_items(conn, "q", "t", "post", [("i", "k", "p", None, None, True)])
        await queues.keep_facts(conn, ["i"], "ann", {"flavour": "large"})
        known = await queues.facts(conn, "i")
        await queues.forget_item(conn, "i")
        return known, await queues.facts(conn, "i")

    assert with_store(postgres_uri, play) == (("ann", {"flavour": "large"}), (None, {}))


def row_of(uuid, attempt=1):
    change = {"canonical_hostname": "host", "project": "p", "ref": "refs/changes/01/1/2"}
    return {
        "uuid": uuid,
        "tenant": "t",
        "job_name": "test",
        "attempt": attempt,
        "request": {"change": change, "max_attempts": 2},
    }


def test_nodes_are_held_for_the_most_specific_request_until_it_is_used_up(postgres_uri):
    async def play(conn):
        for ref_filter in (".*", "refs/changes/01/1/.*", "refs/heads/.*"):
            await web.create_autohold(
                conn,
                tenant="t",
                project="host/p",
                job="test",
                ref_filter=ref_filter,
                reason="look",
                max_count=1,
                node_expiration=60,
            )
        for uuid in ("b1", "b2", "b3"):
            await hold_nodes(conn, row_of(uuid), "FAILURE", [])
        return {row["ref_filter"]: row for row in await web.autoholds(conn, "t")}

    found = with_store(postgres_uri, play)
    used = {ref: [entry["build"] for entry in row["nodes"]] for ref, row in found.items()}
    assert used == {"refs/changes/01/1/.*": ["b1"], ".*": ["b2"], "refs/heads/.*": []}
    assert found[".*"]["expired"] is not None


def test_only_results_that_are_worth_looking_at_hold_nodes():
    assert held_for(row_of("b"), BuildOutcome(result="FAILURE")) == "FAILURE"
    assert held_for(row_of("b"), BuildOutcome(result="SUCCESS")) is None
    assert held_for(row_of("b"), BuildOutcome(result="ABORTED")) is None
    assert held_for(row_of("b", 1), BuildOutcome(result=None, retry_reason="pre-run")) is None
    assert held_for(row_of("b", 2), BuildOutcome(result=None, retry_reason="pre-run")) == "RETRY_LIMIT"
    assert held_for(row_of("b", 2), BuildOutcome(result=None, retry_reason="executor-lost")) is None


def test_required_artifacts_come_from_the_last_buildset_of_a_change(postgres_uri):
    async def build(conn, ref, buildset, uuid, result):
        await builds.create_buildset(
            conn,
            uuid=buildset,
            tenant="t",
            pipeline="check",
            owner="o",
            item="i",
            event_id="e",
            event_at=None,
            refs=[ref],
            triggered_by="somebody",
        )
        await builds.create(
            conn,
            uuid=uuid,
            buildset=buildset,
            owner="o",
            tenant="t",
            pipeline="check",
            job="build",
            ref=ref,
            voting=True,
            nodeset="",
            attempt=1,
            request=None,
            provides=["image"],
        )
        await conn.execute(
            "insert into artifacts (build_id, name, url, metadata) select id, 'a', %s, %s from builds where uuid = %s",
            (f"http://{uuid}", Jsonb({"n": 1}), uuid),
        )
        await builds.record(conn, uuid, result=result, final=True, error_detail=None, at=None)

    async def play(conn):
        ref = await builds.ref_id(
            conn,
            connection="gerrit",
            canonical="host/p",
            project="p",
            branch="master",
            change=1,
            patchset="2",
            ref="refs/changes/01/1/2",
            oldrev=None,
            newrev=None,
            ref_url=None,
        )
        await build(conn, ref, "s1", "b1", "FAILURE")
        await build(conn, ref, "s2", "b2", "SUCCESS")
        found = await builds.providing(conn, "t", "check", "host/p", 1, "2", ["image", "else"])
        return found, await builds.providing(conn, "t", "check", "host/p", 1, "1", ["image"])

    (row,), none = with_store(postgres_uri, play)
    assert (row["uuid"], row["provides"], row["artifacts"][0]["url"]) == ("b2", ["image"], "http://b2")
    assert none == []


def test_a_request_that_is_not_for_the_job_is_not_used(postgres_uri):
    assert with_store(postgres_uri, lambda conn: autoholds.matching(conn, "t", "host/p", "other")) == []
