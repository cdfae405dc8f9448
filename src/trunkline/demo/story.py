"""The demo's story: changes are pushed, tested, approved, gated, landed, deployed; things die and are mended.

Each chapter does something as a person or as bad luck would, waits for what must follow, and notes what was asked, what
happened, how long it took. Nothing here reaches into a service: it pushes with git, votes and reads by REST, kills by
signal, and asks the clouds themselves what exists.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline.demo.api import Api, StoryFailed, call, get, until
from trunkline.demo.changes import CHANGES, DemoChange
from trunkline.dev.review.client import ReviewClient
from trunkline.services.world import PASSWORD, TENANT, World
from trunkline.store import Database, nodes

CHECK_S, GATE_S, DEPLOY_S, FAILOVER_S, CLEAN_S = 180.0, 300.0, 150.0, 120.0, 90.0
APPLICATION = "shop"
ALLOWED = {"EU", "GB"}


@dataclass
class Row:
    asked: str
    happened: str
    seconds: float | None
    good: bool


@dataclass
class Story:
    """Tells it once, on a world that is up. `say` is told each step as it happens."""

    world: World
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    change_ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api = Api(self.world.url, TENANT)
        self.alice = ReviewClient(self.world.review["url"], "alice", PASSWORD)
        self.client = Customer(self.api)

    def tell(self) -> bool:
        """All chapters in order; stops at the first that fails. True if everything is as it must be."""
        chapters = (self.push, self.check, self.gate, self.after, self.deploy, self.kill_region, self.leaks)
        try:
            for chapter in chapters:
                chapter()
        except StoryFailed as problem:
            self.rows.append(Row("go on", str(problem), None, good=False))
            self.say(str(problem))
        finally:
            self.client.stop()
        return all(row.good for row in self.rows)

    def note(self, asked: str, happened: str, since: float | None, good: bool = True) -> None:
        seconds = time.monotonic() - since if since is not None else None
        self.rows.append(Row(asked, happened, seconds, good))
        self.say(f"{'✓' if good else '✗'} {asked}: {happened}")

    # ------------------------------------------------------------------ changes

    def push(self) -> None:
        begin = time.monotonic()
        for change in CHANGES:
            self._push(change)
            self.say(f"bob pushes {change.project} {self.numbers[change.name]}: {change.subject}")
        self.note(f"push {len(CHANGES)} changes for review", f"{len(self.numbers)} changes are open", begin)

    def _push(self, change: DemoChange) -> None:
        place = self.world.home / "work" / "changes" / change.name
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.world.git("bob", "clone", "-q", self.world.clone_url("bob", change.project), str(place))
        if change.on:
            parent = self.world.home / "work" / "changes" / change.on
            self.world.git("bob", "pull", "-q", str(parent), "HEAD", cwd=place)
        change.edit(place)
        footers = [f"Depends-On: {self.urls[change.needs]}"] if change.needs else []
        footers.append(f"Change-Id: I{secrets.token_hex(20)}")
        self.world.git("bob", "add", "-A", "-f", cwd=place)
        self.world.git("bob", "commit", "-q", "-m", f"{change.subject}\n\n" + "\n".join(footers), cwd=place)
        said = self.world.git("bob", "push", "origin", "HEAD:refs/for/main", cwd=place)
        found = re.findall(r"(\S+/\+/(\d+)) ", said)
        if not found:
            raise StoryFailed(f"the push of {change.name} made no change:\n{said}")
        self.urls[change.name], self.numbers[change.name] = found[-1][0], int(found[-1][1])

    def check(self) -> None:
        begin = time.monotonic()
        until("every change has its check vote", lambda: all(self._vote(c.name) for c in CHANGES), CHECK_S)
        wrong = [c.name for c in CHANGES if self._vote(c.name) != c.check]
        good = sum(c.check > 0 for c in CHANGES)
        self.note(
            "test each change by itself (check)",
            f"{good} voted +1, {len(CHANGES) - good} voted -1" if not wrong else f"wrong votes: {', '.join(wrong)}",
            begin,
            good=not wrong,
        )
        jobs = {b["job_name"] for b in self.api.builds(change=self.numbers["threads"], pipeline="check")}
        self.note(
            "a change edits its own jobs",
            f"tested with {', '.join(sorted(jobs))} before it lands",
            None,
            good="cachetools-threads" in jobs,
        )

    def _vote(self, name: str) -> int:
        labels = self.alice.change(self.numbers[name], "DETAILED_LABELS")["labels"]
        votes = [v.get("value") or 0 for v in labels["Verified"].get("all", [])]
        return next((v for v in votes if v), 0)

    def gate(self) -> None:
        begin = time.monotonic()
        for change in CHANGES:
            self.alice.review(self.numbers[change.name], "good", {"Code-Review": 2, "Workflow": 1})
        self.say("alice approves all of them: they enter the gate, each tested on the future it will land in")
        self._kill("executor", lambda: self._running("gate") >= 1)
        self._kill("scheduler", lambda: self._landed_count() >= 1)
        until("every change has left the gate", self._is_gate_empty, GATE_S)
        fates = until("every change has a verdict", self._fates, 30.0)
        for change in CHANGES:
            landed = fates[change.name]
            self.note(
                f"{change.project} {self.numbers[change.name]} ({change.name})",
                f"{'landed' if landed else 'rejected'}: {change.because}",
                None,
                good=landed == change.lands,
            )
        self.note(
            "gate them as one queue",
            f"{sum(fates.values())} landed, {len(fates) - sum(fates.values())} rejected",
            begin,
        )
        self._resets()
        self._told_once()

    def _running(self, pipeline: str) -> int:
        items = [i for q in self.api.queues() if q["pipeline"] == pipeline for i in q["items"]]
        return sum(1 for i in items for j in i["jobs"] if j["start_time"] and not j["result"])

    def _landed_count(self) -> int:
        return sum(self._status(change.name) == "MERGED" for change in CHANGES)

    def _status(self, name: str) -> str:
        return str(self.alice.change(self.numbers[name])["status"])

    def _is_gate_empty(self) -> bool:
        return not any(queue["pipeline"] == "gate" for queue in self.api.queues())

    def _fates(self) -> dict[str, bool] | None:
        """Who landed; None while somebody has neither landed nor been refused."""
        fates = {}
        for change in CHANGES:
            landed = self._status(change.name) == "MERGED"
            if not landed and self._vote(change.name) != -2:
                return None
            fates[change.name] = landed
        return fates

    def _kill(self, service: str, when: Callable[[], bool]) -> None:
        until(f"the moment to kill the {service}", when, GATE_S, every_s=0.2)
        pid = self._pid(service)
        os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        self.say(f"the {service} is killed (SIGKILL)")
        until(f"the {service} is back", lambda: self._pid(service) not in (0, pid), 30.0)
        self.note(f"kill -9 the {service} in the middle", "started again; nothing lost, nothing done twice", begin)

    def _pid(self, service: str) -> int:
        state = json.loads((self.world.home / "state" / "supervisor.json").read_text())
        return int(state["services"][service])

    def _resets(self) -> None:
        builds = self.api.builds(pipeline="gate")
        cancelled = sum(b["result"] in ("CANCELED", "ABORTED") for b in builds)
        retried = sum(b["result"] == "RETRY" for b in builds)
        self.note(
            "reset what stands behind a failure",
            f"{len(builds)} builds in the gate, {cancelled} given up by resets, {retried} tried again after the executor died",
            None,
            good=cancelled > 0,
        )

    def _told_once(self) -> None:
        """No change was told anything twice, although the scheduler died."""
        twice = []
        for change in CHANGES:
            said = self.alice.change(self.numbers[change.name], "MESSAGES")["messages"]
            ours = [m for m in said if m.get("tag") == "autogenerated:zuul:gate"]
            results = [m for m in ours if "Starting" not in m["message"]]
            if len(results) != 1:
                twice.append(f"{change.name}: {len(results)}")
        self.note("tell each change once", "one result each" if not twice else ", ".join(twice), None, good=not twice)

    def after(self) -> None:
        """The post pipeline has run with its secret; the log of a build is stored."""
        begin = time.monotonic()

        def announced() -> list[dict[str, Any]]:
            return [b for b in self.api.builds(pipeline="post", job_name="announce") if b["result"]]

        builds = until("the landing is announced", announced, 60.0)
        good = all(b["result"] == "SUCCESS" for b in builds)
        self.note("use a secret after review only", f"{len(builds)} announcements signed", begin, good=good)
        build = next(b for b in self.api.builds(pipeline="gate", job_name="shop-build", result="SUCCESS"))
        with urllib.request.urlopen(build["log_url"] + "job-output.txt", timeout=10) as answer:
            lines = answer.read().decode(errors="replace").splitlines()
        artifact = build["artifacts"][0]["url"] if build["artifacts"] else ""
        with urllib.request.urlopen(artifact, timeout=10) as answer:
            size = len(answer.read())
        self.note(
            "keep logs and artifacts",
            f"{len(lines)} lines of console, {size} bytes of {artifact.rpartition('/')[2]}",
            None,
            good=size > 0,
        )

    # ------------------------------------------------------------------ the fleet

    def deploy(self) -> None:
        begin = time.monotonic()
        commit = self._tip("shop")
        until(f"four instances of {commit[:12]} serve", lambda: self._serving(commit), DEPLOY_S)
        places = self._places()
        self.note(
            "deploy what landed: 4 servers, EU and GB, near London, 2 providers",
            _described(places),
            begin,
            good=self._lawful(places),
        )
        self.client.start()
        until("a customer is served through the published endpoints", lambda: self.client.served > 5, 30.0)

    def _tip(self, project: str) -> str:
        said = self.world.git("alice", "ls-remote", self.world.clone_url("alice", project), "refs/heads/main")
        return said.split()[0]

    def _places(self) -> list[dict[str, Any]]:
        return [i for i in self.api.endpoints(APPLICATION) if i["healthy"]]

    def _serving(self, commit: str) -> bool:
        places = self._places()
        return len(places) >= 4 and all(place["commit"] == commit for place in places)

    @staticmethod
    def _lawful(places: list[dict[str, Any]]) -> bool:
        return all(p["jurisdiction"] in ALLOWED for p in places) and len({p["provider"] for p in places}) >= 2

    def kill_region(self) -> None:
        places = self._places()
        cloud, region = self._busiest(places)
        fault = call("POST", f"{self.world.clouds['control']}/faults", _region_down(cloud, region))
        begin = time.monotonic()
        self.client.mark()
        self.say(f"the region {cloud}/{region} dies: its API and its servers are gone")

        def moved() -> list[dict[str, Any]] | None:
            now = self._places()
            return now if len(now) >= 4 and all(p["region"] != region for p in now) else None

        after = until("four instances serve elsewhere", moved, FAILOVER_S)
        until("the customer is served again", lambda: self.client.streak > 5, 30.0)
        self.note(
            f"kill the region {region}",
            f"re-placed: {_described(after)}; the customer saw {self.client.failed} failed requests of {self.client.asked}",
            begin,
            good=self._lawful(after),
        )
        begin = time.monotonic()
        call("DELETE", f"{self.world.clouds['control']}/faults/{fault['id']}")
        self.say(f"the region {region} comes back")
        until(f"nothing of ours is left over in {region}", lambda: not self._strays(region), CLEAN_S)
        self.note(f"the region {region} comes back", "what we no longer want there is deleted", begin)

    @staticmethod
    def _busiest(places: list[dict[str, Any]]) -> tuple[str, str]:
        """The region to kill: the one with most instances, so that it hurts."""
        regions = [(p["cloud"], p["region"]) for p in places]
        return max(sorted(set(regions)), key=regions.count)

    # ------------------------------------------------------------------ the clouds' own word

    def leaks(self) -> None:
        begin = time.monotonic()
        until("no build runs", lambda: not self.api.queues(), 60.0)
        until("the clouds hold nothing that we do not know of", lambda: not self._strays(), CLEAN_S)
        alive = self._servers()
        regions = {f"{s['cloud']}/{s['region']}" for s in alive}
        made = len(get(f"{self.world.clouds['control']}/objects?kind=server"))
        self.note(
            "leave nothing behind (asked of the clouds)",
            f"{made} servers were made, {len(alive)} are there and wanted, in {len(regions)} regions",
            begin,
        )

    def _servers(self, region: str | None = None) -> list[dict[str, Any]]:
        found = get(f"{self.world.clouds['control']}/objects?kind=server&alive=true")
        return [s for s in found if region is None or s["region"] == region]

    def _strays(self, region: str | None = None) -> list[str]:
        """Servers and floating IPs in the clouds that no row claims."""
        wanted = {
            row["server_id"] for row in asyncio.run(self._rows()) if row["state"] in ("ready", "in-use", "building")
        }
        return [s["id"] for s in self._servers(region) if s["id"] not in wanted]

    async def _rows(self) -> list[dict[str, Any]]:
        from trunkline.services.settings import Settings

        async with await Database.open(Settings.read(self.world.config).dburi, name="trunkline-demo") as db:
            async with db.transaction() as conn:
                return await nodes.listed(conn)

    # ------------------------------------------------------------------ figures

    def overhead(self) -> list[tuple[str, str]]:
        """What the product itself cost: CPU of its processes, and waits that are its own."""
        figures = []
        state = json.loads((self.world.home / "state" / "supervisor.json").read_text())
        cpu = {name: _cpu_s(pid) for name, pid in state["services"].items() if pid}
        figures.append(("CPU by service, seconds", ", ".join(f"{name} {s:.1f}" for name, s in sorted(cpu.items()))))
        builds = [b for b in self.api.builds() if b["start_time"] and b["execute_time"]]
        waits = [_seconds(b["execute_time"], b["start_time"]) for b in builds]
        if waits:
            figures.append(
                ("from asked for to started, median seconds", f"{statistics.median(waits):.1f} (n = {len(waits)})")
            )
        return figures


class Customer:
    """An HTTP client that asks the shop again and again, by the published endpoints."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.asked = self.served = self.failed = self.streak = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._shop, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def mark(self) -> None:
        """Count from here."""
        self.asked = self.served = self.failed = self.streak = 0

    def _shop(self) -> None:
        turn = 0
        while not self._stop.wait(0.1):
            places: list[dict[str, Any]] = []
            with suppress(urllib.error.URLError, OSError, ValueError, KeyError):
                places = self.api.endpoints(APPLICATION)
            if not places:
                continue
            turn += 1
            place = places[turn % len(places)]
            self.asked += 1
            try:
                get(f"http://{place['address']}:{place['port']}/", timeout_s=2.0)
                self.served += 1
                self.streak += 1
            except (urllib.error.URLError, OSError, ValueError):
                self.failed += 1
                self.streak = 0


def _region_down(cloud: str, region: str) -> dict[str, Any]:
    return {"kind": "region-down", "cloud": cloud, "region": region, "mode": "refuse", "servers": True}


def _described(places: list[dict[str, Any]]) -> str:
    regions = [f"{p['city']} ({p['jurisdiction']})" for p in places]
    return ", ".join(f"{regions.count(r)} in {r}" for r in sorted(set(regions)))


def _cpu_s(pid: int) -> float:
    """User and system time of a process and of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _seconds(begin: str, end: str) -> float:
    form = "%Y-%m-%dT%H:%M:%S"
    return time.mktime(time.strptime(end, form)) - time.mktime(time.strptime(begin, form))
