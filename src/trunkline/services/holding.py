"""Nodes of failing builds that somebody asked to keep (autohold)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog

from trunkline.executor import BuildOutcome
from trunkline.store import Connection, autoholds, nodes

log = structlog.get_logger()

KEEPS = frozenset({"FAILURE", "RETRY_LIMIT", "POST_FAILURE", "TIMED_OUT"})
NOT_COUNTED = "executor-lost"
EVERY_REF = ".*"


def held_for(row: Mapping[str, Any], outcome: BuildOutcome) -> str | None:
    """The result for which nodes may be held, None if this one is none of those."""
    result = outcome.result
    if result is None and outcome.retry_reason != NOT_COUNTED:
        request = row["request"] or {}
        result = "RETRY_LIMIT" if row["attempt"] >= request.get("max_attempts", 3) else None
    return result if result in KEEPS else None


async def hold_nodes(conn: Connection, row: Mapping[str, Any], result: str, node_ids: list[str]) -> None:
    """Keep the nodes of a failed build if a request asks for it: the most specific one that is not used up."""
    change = (row["request"] or {}).get("change") or {}
    project = f"{change.get('canonical_hostname')}/{change.get('project')}"
    wanted = [
        found
        for found in await autoholds.matching(conn, row["tenant"], project, row["job_name"])
        if re.match(found["ref_filter"], change.get("ref") or "")
    ]
    if not wanted:
        return
    chosen = min(wanted, key=lambda found: (_generality(found["ref_filter"]), found["id"]))
    expires = chosen["node_expiration"] or None
    await nodes.hold(conn, node_ids, reason=chosen["reason"], job=row["job_name"], expires_s=expires)
    await autoholds.use(conn, chosen["id"], row["uuid"], node_ids)
    log.info("nodes.held", build=row["uuid"], result=result, autohold=chosen["id"], nodes=node_ids)


def _generality(ref_filter: str) -> int:
    """A ref before a change before any."""
    if ref_filter == EVERY_REF:
        return 2
    return 1 if ref_filter.endswith("/.*") else 0
