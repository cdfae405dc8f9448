"""The pool's planner over 20 regions of 9 providers: CPU of one plan, and a day in virtual time."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter

from bench.report import Report, median_s
from trunkline.pool import Request, RequestState, World, apply, plan
from trunkline.sim.pool_world import Cloud, PoolSim

PROVIDERS = {
    "rackspace": 4,
    "ovh": 4,
    "citycloud": 3,
    "vexxhost": 2,
    "otc": 2,
    "limestone": 2,
    "elastx": 1,
    "binero": 1,
    "linaro": 1,
}


def clouds(size: int) -> list[Cloud]:
    return [Cloud((vendor, f"R{i}"), size) for vendor, regions in PROVIDERS.items() for i in range(regions)]


def burst(requests: int, room: int) -> World:
    """That many requests at once, a tenth of them sets of three, for pools with that much room in each region."""
    sim = PoolSim(clouds(room), min_ready=20)
    choose = random.Random(7)
    asked = {}
    for i in range(requests):
        labels = ("small",) * (3 if choose.random() < 0.1 else 1)
        priority = choose.choice((100, 200, 300))
        asked[f"r{i}"] = Request(f"r{i}", "q", "t", labels, priority=priority, created=float(i % 60))
    return World(requests=asked, providers=sim.world.providers, regions=sim.world.regions)


def day(jobs_per_hour: int, hours: float, room: int, *, lose_region: bool = False) -> dict[str, object]:
    """Jobs that come at random and run for ten minutes; optionally one region dies in the middle, servers and all."""
    sim = PoolSim(clouds(room), seed=1, min_ready=0 if lose_region else 40)
    choose = random.Random(3)
    when, served_again = 0.0, float("nan")
    while when < hours * 3600:
        when += choose.expovariate(jobs_per_hour / 3600)
        sim.ask("small", runs_s=choose.lognormvariate(6.3, 0.4), when=when)
    if lose_region:
        middle = hours * 1800
        sim.run(middle)
        served = Counter(r.provider for r in sim.world.requests.values() if r.state is RequestState.accepted)
        lost = max(sim.world.providers, key=lambda spec: served[spec.canonical_name])
        waiting = {r.id for r in sim.world.requests.values() if r.provider == lost.canonical_name}
        sim.kill(lost.region_key)
        while waiting & {r for r, it in sim.world.requests.items() if it.state.value in ("requested", "accepted")}:
            sim.run(sim.now + 1.0)
        served_again = sim.now - middle
        sim.at(middle + 3600, lambda: sim.revive(lost.region_key))
    begin = time.process_time()
    sim.run(hours * 3600 + 7200)
    cpu_s = time.process_time() - begin
    waits = sorted(sim.measures.waits_s)
    created = sum(c.created for c in sim.clouds.values())
    known = set(sim.world.nodes)
    return {
        "jobs": sim.measures.asked,
        "servers": created,
        "failed": sim.measures.failed,
        "time_to_node_p50_s": statistics.median(waits),
        "time_to_node_p95_s": waits[int(len(waits) * 0.95)],
        "time_to_node_p99_s": waits[int(len(waits) * 0.99)],
        "planner_cpu_ms_per_server": 1000 * cpu_s / max(1, created),
        "recovered_s": served_again if lose_region else None,
        "leaked": sum(len(c.servers - known) for c in sim.clouds.values()),
    }


def run(quick: bool) -> Report:
    report = Report(
        "pool_plan",
        "20 regions of 9 providers, the real planner; burst: one plan for all requests at once (room: servers a region); "
        "idle: the same world when nothing is to be done; day: virtual time, boots of 45 s, 3 % of them fail",
    )
    for requests, room in ((1000, 200), (5000, 50)) if quick else ((1000, 200), (5000, 50), (10000, 500)):
        world = burst(requests, room)
        n = 3 if quick else 7
        plan_s = median_s(lambda world=world: plan(world, 100.0), n)  # type: ignore[misc]
        actions = plan(world, 100.0)
        after = apply(world, actions, 100.0)
        idle_s = median_s(lambda after=after: plan(after, 100.0), n)  # type: ignore[misc]
        row = {"case": "burst", "requests": requests, "room": room, "actions": len(actions)}
        report.rows.append({**row, "plan_ms": 1000 * plan_s, "again_ms": 1000 * idle_s, "n": n})
    hours = 0.5 if quick else 2.0
    for name, lose in (("day", False), ("region_lost", True)):
        found = day(2000, hours, 60, lose_region=lose)
        report.rows.append({"case": name, "hours": hours, "jobs_per_hour": 2000, **found, "n": 1})
    return report


if __name__ == "__main__":
    import sys

    print(run("--quick" in sys.argv).table())
