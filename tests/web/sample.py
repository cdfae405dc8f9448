"""A WebSource in memory: a tenant with a gate under way, a pool over four regions, one application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from trunkline.web.live import Hub
from trunkline.web.source import ApiRoot, Authorisation, BuildConsole, BuildQuery, Json, Refused, TenantInfo

TENANT = "meadow"
REVIEW = "https://review.meadow.example/c"


def uuid(number: int) -> str:
    return f"{number:032x}"


def ref(number: int, project: str, patchset: int = 1, owner: str = "ann") -> Json:
    return {
        "id": f"{number},{patchset}",
        "url": f"{REVIEW}/{project}/+/{number}",
        "ref": f"refs/changes/{number % 100:02d}/{number}/{patchset}",
        "project": project,
        "project_canonical": f"review.meadow.example/{project}",
        "owner": owner,
    }


def job(name: str, now: float, **said: Any) -> Json:
    """A job as the status has it; `ran` and `left` in seconds, from which the times follow."""
    ran, left = said.pop("ran", None), said.pop("left", None)
    started = ran is not None
    start = now - ran if ran is not None else None
    estimate = ran + left if ran is not None and left is not None else said.pop("estimate", None)
    result = said.get("result")
    base: Json = {
        "name": name,
        "dependencies": [],
        "uuid": None,
        "result": None,
        "voting": True,
        "queued": True,
        "url": None,
        "report_url": None,
        "waiting_status": None if started or result else "node request: 200-0000000042",
        "start_time": start,
        "end_time": now - 4 if result and started else None,
        "execute_time": start,
        "estimated_time": estimate,
        "elapsed_time": int(ran * 1000) if ran is not None else None,
        "remaining_time": int(left * 1000) if left is not None else None,
        "pipeline": None,
        "tries": 1,
        "canceled": False if started else None,
        "paused": False if started else None,
        "retry": False if started else None,
        "pre_fail": False if started else None,
        "snapshotting": False if started else None,
    }
    return base | said


def item(number: int, refs: Sequence[Json], jobs: Sequence[Json], now: float, **said: Any) -> Json:
    return {
        "id": uuid(number),
        "live": True,
        "active": True,
        "refs": list(refs),
        "item_ahead": None,
        "items_behind": [],
        "failing_reasons": [],
        "zuul_ref": f"Z{uuid(number + 500)}",
        "enqueue_time": int((now - 240) * 1000),
        "remaining_time": None,
        "jobs": list(jobs),
    } | said


def pipeline(name: str, manager: str, queues: list[Json], description: str | None = None) -> Json:
    return {
        "name": name,
        "description": description,
        "state": "normal",
        "manager": manager,
        "triggers": [{"driver": "gerrit"}],
        "trigger_events": 0,
        "result_events": 0,
        "management_events": 0,
        "change_queues": queues,
    }


def queue(name: str, runs: list[list[Json]], window: int = 20) -> Json:
    return {"name": name, "branch": None, "window": window, "heads": runs}


def gate_items(now: float) -> list[list[Json]]:
    """Five changes: the second fails, so those behind stand on the first; the last is outside the window."""
    head = item(
        1,
        [ref(1201, "meadow/api")],
        [
            job("api-unit", now, uuid=uuid(101), ran=92.0, result="SUCCESS", estimate=88.0),
            job("api-integration", now, uuid=uuid(102), ran=95.0, left=48.0),
        ],
        now,
        remaining_time=48000,
    )
    bad = item(
        2,
        [ref(1202, "meadow/web", 3, "ben")],
        [
            job("web-unit", now, uuid=uuid(103), ran=61.0, result="FAILURE", estimate=70.0),
            job("web-browser", now, uuid=uuid(104), ran=66.0, left=20.0, voting=False),
        ],
        now,
        item_ahead=uuid(1),
        failing_reasons=["at least one job failed"],
    )
    third = item(
        3,
        [ref(1205, "meadow/api", 2, "cleo")],
        [
            job("api-unit", now, uuid=uuid(105), ran=30.0, left=58.0),
            job("api-integration", now, uuid=uuid(106), ran=12.0, left=None),
        ],
        now,
        item_ahead=uuid(1),
    )
    fourth = item(
        4,
        [ref(1206, "meadow/web", 1, "ann"), ref(1207, "meadow/web-assets", 1, "ann")],
        [
            job("web-unit", now, uuid=uuid(107), ran=18.0, left=52.0, tries=2),
            job("web-browser", now, voting=False, waiting_status="dependencies: web-unit"),
        ],
        now,
        item_ahead=uuid(3),
    )
    outside = item(5, [ref(1210, "meadow/web", 1, "dag")], [], now, item_ahead=uuid(4), active=False)
    head["items_behind"] = [uuid(2), uuid(3)]
    third["items_behind"] = [uuid(4)]
    fourth["items_behind"] = [uuid(5)]
    return [[head, bad, third, fourth, outside]]


def check_items(now: float) -> list[list[Json]]:
    below = item(8, [ref(1213, "meadow/api", 1, "eve")], [], now, live=False)
    above = item(
        9,
        [ref(1214, "meadow/web", 4, "eve")],
        [
            job("web-unit", now, uuid=uuid(108), ran=5.0, left=65.0),
            job("lint", now, uuid=uuid(109), ran=9.0, result="SUCCESS"),
        ],
        now,
        item_ahead=uuid(8),
    )
    return [[below, above]]


def sample_status(now: float) -> Json:
    lone = item(7, [ref(1211, "meadow/docs", 1, "ben")], [job("docs", now, waiting_status="executor")], now)
    return {
        "zuul_version": "14.3.0",
        "trigger_event_queue": {"length": 0},
        "management_event_queue": {"length": 0},
        "connection_event_queues": {"gerrit": {"length": 0}},
        "state": {
            "trigger_queue_discarding": False,
            "trigger_queue_paused": False,
            "result_queue_paused": False,
            "reason": None,
            "info": None,
        },
        "last_reconfigured": int((now - 7200) * 1000),
        "pipelines": [
            pipeline(
                "check", "independent", [queue("meadow/web", check_items(now), 0), queue("meadow/docs", [[lone]], 0)]
            ),
            pipeline("gate", "dependent", [queue("meadow", gate_items(now), 4)]),
            pipeline("post", "supercedent", []),
            pipeline("deploy", "serial", []),
        ],
    }


def stamp(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


def history_ref(number: int, project: str, patchset: int = 1) -> Json:
    return {
        "project": project,
        "branch": "main",
        "change": number,
        "patchset": str(patchset),
        "ref": f"refs/changes/{number % 100:02d}/{number}/{patchset}",
        "oldrev": None,
        "newrev": None,
        "ref_url": f"{REVIEW}/{project}/+/{number}",
    }


def build(number: int, name: str, ref: Json, result: str | None, now: float, took: float = 71.0, **said: Any) -> Json:
    running = result is None
    return {
        "_id": number,
        "uuid": uuid(number),
        "job_name": name,
        "result": result,
        "held": None if running else False,
        "execute_time": stamp(now - took - 2),
        "start_time": stamp(now - took),
        "end_time": None if running else stamp(now),
        "duration": None if running else took,
        "voting": True,
        "log_url": None,
        "nodeset": "debian",
        "error_detail": None,
        "final": None if running else True,
        "artifacts": [],
        "provides": [],
        "ref": ref,
        "pipeline": "gate",
        "event_id": uuid(number + 700),
        "event_timestamp": stamp(now - 300),
        "queue_item_uuid": uuid(1),
        "buildset": {"uuid": uuid(501)},
    } | said


REGIONS: list[Json] = [
    (
        "lumen",
        "London1",
        "lumen-london",
        "Lumen Cloud",
        "London",
        "GB",
        "GB",
        51.507,
        -0.128,
        {"in-use": 5, "ready": 2},
    ),
    (
        "nord",
        "sto2",
        "nord-stockholm",
        "Nordsky",
        "Stockholm",
        "SE",
        "EU",
        59.329,
        18.068,
        {"in-use": 3, "building": 1},
    ),
    ("rhein", "fra-1", "rhein-frankfurt", "Rheinwerk", "Frankfurt", "DE", "EU", 50.110, 8.682, {}),
    ("ridge", "us-east-2", "ridge-ashburn", "Ridgeline", "Ashburn", "US", "US", 39.043, -77.487, {"in-use": 4}),
]  # type: ignore[assignment]


def sample_regions() -> list[Json]:
    keys = ("cloud", "region", "provider", "vendor", "city", "country", "jurisdiction", "lat", "lon", "nodes")
    out: list[Json] = []
    for row in REGIONS:
        region = dict(zip(keys, row, strict=True))
        region |= {"state": "healthy", "reason": None, "since": None, "quota": {"instances": 20}, "usage": {}}
        out.append(region)
    out[2] |= {"state": "down", "reason": "credentials refused (401) for 2 min"}
    return out


def sample_application() -> Json:
    places = [(0, "healthy"), (0, "healthy"), (1, "healthy"), (1, "deploying")]
    keys = ("provider", "region", "city", "country", "jurisdiction", "lat", "lon")
    instances = []
    for number, (where, state) in enumerate(places, 1):
        region = sample_regions()[where]
        instances.append(
            {key: region[key] for key in keys}
            | {
                "id": f"shop-{number}",
                "group": "shop",
                "state": state,
                "healthy": state == "healthy",
                "published": state == "healthy",
                "address": f"127.64.{where}.{number}",
                "commit": "7d0c2f9e11aa",
                "since": time.time() - 900,
            }
        )
    return {
        "name": "shop",
        "project": "meadow/shop",
        "state": "rolling-out",
        "reason": None,
        "wanted": 4,
        "healthy": 3,
        "commit": "7d0c2f9e11aa",
        "placement": {"jurisdictions": ["EU", "GB"]},
        "instances": instances,
        "endpoints": [{"name": "www.shop.example.com"}],
        "rollout": {"state": "running", "text": "instance 4 of 4 gets 7d0c2f9e11"},
    }


class SampleSource:
    """Answers of a tenant that tests may change: every attribute is what the method of that name gives."""

    def __init__(self) -> None:
        now = time.time()
        self.hub = Hub()
        self.calls: list[tuple[Any, ...]] = []
        self.tenant_infos: dict[str, TenantInfo] = {TENANT: TenantInfo(TENANT)}
        self.rules = Authorisation(root=ApiRoot())
        self.status_made = 0
        self.status_value: Json | None = None
        self.errors: list[Json] = []
        self.region_list = sample_regions()
        self.application_list = [sample_application()]
        self.hold_list: list[Json] = []
        self.consoles: dict[str, BuildConsole] = {}
        api, web_ = history_ref(1201, "meadow/api"), history_ref(1202, "meadow/web", 3)
        self.build_list = [
            build(108, "web-unit", history_ref(1214, "meadow/web", 4), None, now, 5.0, pipeline="check"),
            build(106, "api-integration", history_ref(1205, "meadow/api", 2), None, now, 12.0),
            build(103, "web-unit", web_, "FAILURE", now - 4, 61.0, error_detail="2 of 412 tests failed"),
            build(101, "api-unit", api, "SUCCESS", now - 8, 92.0),
            build(99, "deploy-shop", history_ref(1190, "meadow/shop"), "SUCCESS", now - 400, 33.0, pipeline="deploy"),
            build(98, "api-unit", history_ref(1190, "meadow/shop"), "RETRY", now - 800, 7.0, final=False),
            build(97, "api-unit", history_ref(1190, "meadow/shop"), "SUCCESS", now - 900, 81.0),
        ]

    async def authorisation(self) -> Authorisation:
        return self.rules

    async def tenants(self) -> list[str]:
        return list(self.tenant_infos)

    async def tenant(self, name: str) -> TenantInfo | None:
        return self.tenant_infos.get(name)

    async def connections(self) -> list[Json]:
        return [
            {
                "name": "gerrit",
                "driver": "gerrit",
                "baseurl": "https://review.meadow.example",
                "canonical_hostname": "review.meadow.example",
                "server": "review.meadow.example",
                "ssh_server": "review.meadow.example",
                "port": 29418,
            }
        ]

    async def components(self) -> dict[str, list[Json]]:
        one = {"hostname": "ci1.meadow.example", "state": "running", "version": "0.1.0"}
        return {kind: [dict(one)] for kind in ("executor", "scheduler", "web")}

    async def status(self, tenant: str) -> Json:
        self.status_made += 1
        return self.status_value or sample_status(time.time())

    async def system_events(self, tenant: str, query: Json) -> list[Json]:
        return []

    async def explain(self, tenant: str, change: str) -> list[Json]:
        now = time.time()
        stands = "meadow/api 1205,2 is at place 3 of 5 of queue meadow in gate."
        waits = "It is tested as if 1201,1 had landed; 1202,3 fails and is left out."
        return [
            {"time": now, "now": True, "what": "place", "text": stands, "item": uuid(3), "pipeline": "gate"},
            {"time": now, "now": True, "what": "footing", "text": waits, "item": uuid(3), "pipeline": "gate"},
            {
                "time": now - 30,
                "what": "moved",
                "text": "1202,3 ahead of it fails; tested again on trunk + 1201,1",
                "item": None,
                "pipeline": "gate",
            },
            {
                "time": now - 230,
                "what": "tested",
                "text": "two builds started on trunk + 1201,1 + 1202,3",
                "item": None,
                "pipeline": "gate",
            },
            {
                "time": now - 240,
                "what": "enqueued",
                "text": "approved: Code-Review +2, Workflow +1",
                "item": None,
                "pipeline": "gate",
            },
        ]

    def changes(self, tenant: str) -> AsyncIterator[str]:
        return self.hub.changes(tenant)

    async def jobs(self, tenant: str) -> list[Json]:
        return [
            {"name": "base", "variants": [{}]},
            {"name": "web-unit", "description": "Unit tests of the web", "variants": [{"parent": "base"}]},
        ]

    async def job(self, tenant: str, name: str) -> list[Json]:
        return [{"name": name, "parent": "base"}] if name in ("web-unit", "docs/build") else []

    async def projects(self, tenant: str) -> list[Json]:
        names = ("meadow/api", "meadow/shop", "meadow/web")
        return [
            {
                "name": name,
                "connection_name": "gerrit",
                "canonical_name": f"review.meadow.example/{name}",
                "type": "untrusted",
            }
            for name in names
        ]

    async def project(self, tenant: str, name: str) -> Json | None:
        for project in await self.projects(tenant):
            if name in (project["name"], project["canonical_name"]):
                del project["type"]
                return project | {"metadata": {}, "configs": []}
        return None

    async def pipelines(self, tenant: str) -> list[Json]:
        return [
            {"name": name, "triggers": [{"name": "gerrit", "driver": "gerrit"}]}
            for name in ("check", "gate", "post", "deploy")
        ]

    async def labels(self, tenant: str) -> list[Json]:
        return [{"name": "debian"}]

    async def flavors(self, tenant: str) -> list[Json]:
        return []

    async def images(self, tenant: str) -> list[Json]:
        return []

    async def providers(self, tenant: str) -> list[Json]:
        return []

    async def semaphores(self, tenant: str) -> list[Json]:
        holders = {"count": 0, "this_tenant": [], "other_tenants": 0}
        return [{"name": "lab", "global": False, "max": 1, "holders": holders}]

    async def config_errors(self, tenant: str) -> list[Json]:
        return self.errors

    async def freeze_jobs(self, tenant: str, pipeline: str, project: str, branch: str) -> list[Json] | None:
        self.calls.append(("freeze_jobs", pipeline, project, branch))
        if project != "meadow/web":
            return None
        return [{"name": "web-unit", "dependencies": []}]

    async def freeze_job(self, tenant: str, pipeline: str, project: str, branch: str, job: str) -> Json | None:
        return {"job": job, "branch": branch} if job == "web-unit" else None

    async def freeze_pipeline(self, tenant: str, pipeline: str, project: str, ref: str) -> list[Json] | None:
        return [] if project == "meadow/web" else None

    async def public_key(self, tenant: str, project: str) -> str | None:
        return "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n" if project == "meadow/web" else None

    async def ssh_key(self, tenant: str, project: str | None) -> str | None:
        return "ssh-rsa AAAA"

    async def builds(self, tenant: str, query: BuildQuery) -> list[Json]:
        self.calls.append(("builds", query))

        def wanted(build: Json) -> bool:
            said = [
                (query.project, build["ref"]["project"]),
                (query.pipeline, build["pipeline"]),
                (query.job_name, build["job_name"]),
            ]
            return (
                all(not patterns or any(fnmatchcase(value, p) for p in patterns) for patterns, value in said)
                and (not query.result or build["result"] in query.result)
                and (not query.change or build["ref"]["change"] in query.change)
            )

        return [b for b in self.build_list if wanted(b)][query.skip : query.skip + query.limit]

    async def build(self, tenant: str, uuid: str) -> Json | None:
        for build in self.build_list:
            if build["uuid"] == uuid:
                return build | {"buildset": {"uuid": build["buildset"]["uuid"], "refs": [build["ref"]]}}
        return None

    async def buildsets(self, tenant: str, query: BuildQuery) -> list[Json]:
        self.calls.append(("buildsets", query))
        found = await self.buildset(tenant, uuid(501))
        assert found is not None
        return [{key: value for key, value in found.items() if key not in ("builds", "events")}]

    async def buildset(self, tenant: str, uuid_: str) -> Json | None:
        if uuid_ != uuid(501):
            return None
        builds = []
        for build in self.build_list[2:4]:
            added = ("pipeline", "event_id", "event_timestamp", "queue_item_uuid", "buildset")
            builds.append({key: value for key, value in build.items() if key not in added})
        now = time.time()
        return {
            "_id": 501,
            "uuid": uuid(501),
            "result": "FAILURE",
            "message": "Build failed.",
            "pipeline": "gate",
            "event_id": uuid(701),
            "event_timestamp": stamp(now - 300),
            "queue_item_uuid": uuid(1),
            "first_build_start_time": stamp(now - 100),
            "last_build_end_time": stamp(now),
            "user_id": None,
            "parameters": None,
            "refs": [history_ref(1201, "meadow/api")],
            "builds": builds,
            "events": [
                {"event_time": stamp(now - 300), "event_type": "triggered", "description": "Triggered by GerritChange"}
            ],
        }

    async def build_times(self, tenant: str, query: BuildQuery) -> list[Json]:
        return []

    async def build_console(self, tenant: str, uuid: str) -> BuildConsole | None:
        return self.consoles.get(uuid)

    async def nodes(self, tenant: str) -> list[Json]:
        return [
            {
                "id": uuid(900 + number),
                "uuid": uuid(900 + number),
                "type": ["debian"],
                "label": "debian",
                "connection_type": "ssh",
                "external_id": None,
                "state": state,
                "state_time": stamp(time.time() - 60 * number),
                "comment": "look at the disk" if state == "hold" else None,
                "interface_ip": f"127.64.1.{number}",
                "provider": "lumen-london",
                "region": "London1",
            }
            for number, state in enumerate(("in-use", "in-use", "ready", "building", "hold"), 1)
        ]

    async def nodeset_requests(self, tenant: str) -> list[Json]:
        return []

    async def regions(self, tenant: str) -> list[Json]:
        return self.region_list

    async def autoholds(self, tenant: str, project: str | None) -> list[Json]:
        return [hold for hold in self.hold_list if project is None or hold["project"].endswith(project)]

    async def autohold(self, tenant: str, request: str) -> Json | None:
        return next((hold for hold in self.hold_list if hold["id"] == request), None)

    async def applications(self, tenant: str) -> list[Json]:
        return self.application_list

    async def endpoints(self, tenant: str, application: str) -> Json | None:
        return {"application": application, "endpoints": []} if application == "shop" else None

    async def enqueue(self, tenant: str, project: str, body: Json, user: str | None) -> None:
        if body["pipeline"] not in ("check", "gate"):
            raise Refused(400, "Unknown pipeline")
        if project != "meadow/web":
            raise Refused(404, "Unknown project")
        self.calls.append(("enqueue", project, body, user))

    async def dequeue(self, tenant: str, project: str, body: Json) -> None:
        self.calls.append(("dequeue", project, body))

    async def promote(self, tenant: str, pipeline: str, changes: Sequence[str]) -> None:
        self.calls.append(("promote", pipeline, list(changes)))

    async def create_autohold(self, tenant: str, project: str, body: Json) -> None:
        self.calls.append(("autohold", project, body))
        self.hold_list.append({"id": "0000000001", "project": f"review.meadow.example/{project}", "job": body["job"]})

    async def delete_autohold(self, tenant: str, request: str) -> bool:
        before = len(self.hold_list)
        self.hold_list = [hold for hold in self.hold_list if hold["id"] != request]
        return len(self.hold_list) < before

    async def set_state(self, tenant: str, body: Json) -> None:
        self.calls.append(("state", body))

    async def set_node(self, tenant: str, node: str, body: Json) -> bool:
        self.calls.append(("node", node, body))
        return node == uuid(901)

    async def delete_nodeset_request(self, tenant: str, request: str) -> bool:
        return False
