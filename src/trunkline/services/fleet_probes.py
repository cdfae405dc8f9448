"""HTTP probes of instances from vantage points. Results are streaks in the store; what they mean is the planner's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import msgspec
import structlog

from trunkline.fleet import HealthCheck
from trunkline.store import Database, fleet
from trunkline.store.database import Row

log = structlog.get_logger()

AT_ONCE = 64
LOOK_EVERY_S = 1.0
BODY_BYTES = 4096


class Vantage(msgspec.Struct, frozen=True):
    """A point from which instances are probed; `source` is the local address to probe from ("": any)."""

    name: str
    source: str = ""


async def probe_from(vantage: Vantage, db: Database, stop: asyncio.Event) -> None:
    """Probe every instance at its interval until `stop`."""
    due: dict[tuple[str, str, str], float] = {}
    running: set[asyncio.Task[None]] = set()
    busy: set[tuple[str, str, str]] = set()
    gate = asyncio.Semaphore(AT_ONCE)
    loop = asyncio.get_running_loop()
    source = (vantage.source, 0) if vantage.source else None
    connector = aiohttp.TCPConnector(local_addr=source, limit=AT_ONCE, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        while not stop.is_set():
            targets = await _targets(db)
            known = {_key(target) for target in targets}
            due = {key: at for key, at in due.items() if key in known}
            for target in targets:
                key = _key(target)
                checks = msgspec.convert(target["health"] or [], list[HealthCheck])
                if not checks or not target["address"] or key in busy or due.get(key, 0.0) > loop.time():
                    continue
                due[key] = loop.time() + min(check.interval_s for check in checks)
                busy.add(key)
                task = asyncio.create_task(_probe(session, gate, vantage, db, target, checks))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _, key=key: busy.discard(key))  # type: ignore[misc]
            wait_s = min([LOOK_EVERY_S, *(max(at - loop.time(), 0.05) for at in due.values())])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _key(target: Row) -> tuple[str, str, str]:
    return target["tenant"], target["application"], target["instance"]


async def _targets(db: Database) -> list[Row]:
    try:
        async with db.connection() as conn:
            return await fleet.targets(conn)
    except Exception as problem:  # the database may be restarting: probing goes on when it is back
        log.warning("fleet.probe.no_targets", error=str(problem))
        return []


async def _probe(
    session: aiohttp.ClientSession,
    gate: asyncio.Semaphore,
    vantage: Vantage,
    db: Database,
    target: Row,
    checks: list[HealthCheck],
) -> None:
    async with gate:
        faults = [fault for check in checks if (fault := await ask(session, target["address"], check))]
    try:
        async with db.transaction() as conn:
            await fleet.record_probe(conn, *_key(target), vantage.name, not faults, "; ".join(faults))
    except Exception as problem:  # an unrecorded probe is a probe that was not made
        log.warning("fleet.probe.not_recorded", instance=target["instance"], error=str(problem))


async def ask(session: aiohttp.ClientSession, address: str, check: HealthCheck) -> str:
    """What is wrong with the answer; "" if it is the expected one."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{check.port}{check.path}"
    timeout = aiohttp.ClientTimeout(total=check.timeout_s)
    try:
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            await response.content.read(BODY_BYTES)
            if response.status == check.expect:
                return ""
            return f"{url}: {response.status}, expected {check.expect}"
    except TimeoutError:
        return f"{url}: no answer in {check.timeout_s:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return f"{url}: {_words(problem)}"


def _words(problem: Any) -> str:
    return str(problem) or type(problem).__name__
