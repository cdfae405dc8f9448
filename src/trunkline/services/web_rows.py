"""Rows of the store as the REST API shows them: builds, buildsets, nodes, requests, holds, regions, applications. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]
Json = dict[str, Any]

_REF = ("project", "branch", "change", "patchset", "ref", "oldrev", "newrev", "ref_url")


def stamp(moment: datetime | float | None) -> str | None:
    """Seconds are exact enough for people; UTC without a zone, as clients expect it."""
    if moment is None:
        return None
    if isinstance(moment, (int, float)):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def ref_json(row: Row) -> Json:
    return {key: row[key] for key in _REF}


def build_json(row: Row, *, whole: bool = True) -> Json:
    """A build; `whole` adds what a build within its buildset does not repeat."""
    start, end = row["start_time"], row["end_time"]
    out: Json = {
        "_id": row["id"],
        "uuid": row["uuid"],
        "job_name": row["job_name"],
        "result": row["result"],
        "held": row["held"],
        "execute_time": stamp(row["execute_time"]),
        "start_time": stamp(start),
        "end_time": stamp(end),
        "duration": round((end - start).total_seconds(), 3) if start and end else None,
        "voting": row["voting"],
        "log_url": row["log_url"],
        "nodeset": row["nodeset"],
        "error_detail": row["error_detail"],
        "final": row["final"],
        "artifacts": [_artifact(artifact) for artifact in row["artifacts"]],
        "provides": row["provides"],
        "ref": ref_json(row["ref"]),
    }
    if whole:
        out |= {
            "pipeline": row["pipeline"],
            "event_id": row["event_id"],
            "event_timestamp": stamp(row["event_timestamp"]),
            "queue_item_uuid": row["queue_item_uuid"],
            "buildset": {"uuid": row["buildset_uuid"]},
        }
        if "refs" in row:
            out["buildset"]["refs"] = [ref_json(ref) for ref in row["refs"]]
    return out


def _artifact(artifact: Row) -> Json:
    out = {"name": artifact["name"], "url": artifact["url"]}
    return out | ({"metadata": artifact["metadata"]} if artifact.get("metadata") is not None else {})


def buildset_json(row: Row) -> Json:
    return {
        "_id": row["id"],
        "uuid": row["uuid"],
        "result": row["result"],
        "message": row["message"],
        "pipeline": row["pipeline"],
        "event_id": row["event_id"],
        "event_timestamp": stamp(row["event_timestamp"]),
        "queue_item_uuid": row["queue_item_uuid"],
        "first_build_start_time": stamp(row["first_build_start_time"]),
        "last_build_end_time": stamp(row["last_build_end_time"]),
        "user_id": row["user_id"],
        "parameters": row["parameters"],
        "refs": [ref_json(ref) for ref in row["refs"]],
    }


def build_time_json(row: Row) -> Json:
    return {
        "_id": row["id"],
        "uuid": row["uuid"],
        "job_name": row["job_name"],
        "result": row["result"],
        "start_time": stamp(row["start_time"]),
        "end_time": stamp(row["end_time"]),
        "duration": round((row["end_time"] - row["start_time"]).total_seconds(), 3),
        "final": row["final"],
        "project": row["project"],
        "branch": row["branch"],
        "pipeline": row["pipeline"],
        "ref": row["ref"],
    }


def event_json(row: Row) -> Json:
    return {
        "event_time": stamp(row["event_time"]),
        "event_type": row["event_type"],
        "description": row["description"],
    }


def autohold_json(row: Row) -> Json:
    return {
        "id": f"{row['id']:010d}",
        "tenant": row["tenant"],
        "project": row["project"],
        "job": row["job"],
        "ref_filter": row["ref_filter"],
        "max_count": row["max_count"],
        "current_count": row["current_count"],
        "reason": row["reason"],
        "node_expiration": row["node_expiration"],
        "expired": row["expired"].timestamp() if row["expired"] else None,
        "nodes": row["nodes"],
    }


def node_json(row: Row) -> Json:
    """A server. What the pool does not know of it is null."""
    state_time = row["state_time"]
    out: Json = {
        "id": str(row["id"]),
        "uuid": str(row["id"]),
        "type": [row["label"]],
        "label": row["label"],
        "external_id": None,
        "state_time": stamp(state_time),
        "slot": row.get("slot"),
        "quota": {},
        "is_locked": row.get("locked_by") is not None,
        "lock_holder": row.get("locked_by"),
        "request_id": str(row["request_id"]) if row.get("request_id") else None,
        "request_time": None,
        "main_node_id": None,
        "max_ready_age": None,
        "max_age": None,
        "hold_expiration": _epoch(row.get("hold_expires")),
        "comment": row.get("comment") or row.get("hold_reason"),
    }
    same = (
        *("connection_type", "state", "next_state", "interface_ip", "public_ipv4", "private_ipv4", "public_ipv6"),
        *("private_ipv6", "az", "cloud", "provider", "region", "username"),
    )
    return out | {key: row.get(key) for key in same}


def _epoch(moment: datetime | float | None) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else moment


def request_json(row: Row) -> Json:
    return {
        "uuid": str(row["id"]),
        "state": row["state"],
        "pipeline_name": row["pipeline"],
        "buildset_uuid": row["buildset_uuid"],
        "job_name": row["job"],
        "labels": row["labels"],
        "priority": row["priority"],
        "relative_priority": row["relative_priority"],
        "request_time": stamp(row["created"]),
        "zuul_event_id": row.get("event_id"),
        "image_names": None,
        "image_upload_uuid": None,
        "provider_node_data": [
            {
                "uuid": str(node),
                "executor_zone": row.get("zone"),
                "failed_providers": [declined["provider"] for declined in row.get("declined_by") or ()],
            }
            for node in row.get("node_ids") or ()
        ],
        "is_locked": row["state"] == "accepted",
        "lock_holder": row.get("accepted_by"),
    }


def region_json(row: Row, counts: Mapping[str, int]) -> Json:
    same = (
        *("cloud", "region", "provider", "vendor", "city", "country", "jurisdiction", "lat", "lon", "state"),
        *("since", "quota", "usage"),
    )
    return {key: row.get(key) for key in same} | {"reason": row.get("reason") or None, "nodes": dict(counts)}


def application_json(row: Row) -> Json:
    """An application: what was asked for, and what there is of it."""
    body, status = row["body"] or {}, row["status"] or {}
    spec = body.get("application") or {}
    instances = [_instance(instance) for instance in row["instances"]]
    wanted = status.get("wanted") or spec.get("instances") or 0
    messages = status.get("messages") or ()
    document = row["endpoints"] or {}
    rollout = body.get("rollout")
    return {
        "name": row["name"],
        "project": row["project"],
        "branch": row["branch"],
        "state": status.get("condition", "placing"),
        "reason": "; ".join(messages) or None if status.get("condition") != "steady" else None,
        "survives": status.get("survives"),
        "wanted": wanted,
        "healthy": sum(1 for instance in instances if instance["healthy"]),
        "commit": body.get("target"),
        "placement": spec.get("placement") or {},
        "instances": instances,
        "endpoints": endpoint_list(document),
        "rollout": _rollout(rollout, instances) if rollout and rollout.get("state") == "running" else None,
    }


def _instance(body: Row) -> Json:
    state = body.get("state")
    healthy = state == "running" and body.get("health") == "healthy" and not body.get("leaving")
    shown = (
        "healthy" if healthy else body.get("leaving") or ("unhealthy" if body.get("health") == "unhealthy" else state)
    )
    same = ("id", "provider", "cloud", "region", "vendor", "city", "country", "jurisdiction", "lat", "lon", "commit")
    return {key: body.get(key) for key in same} | {
        "group": None,
        "state": shown,
        "phase": state,
        "healthy": healthy,
        "published": bool(body.get("published")),
        "address": body.get("address") or None,
        "since": body.get("state_since"),
    }


def endpoint_list(document: Row) -> list[Json]:
    """Where clients find it: the name, then each published address."""
    out: list[Json] = []
    if dns := document.get("dns"):
        out.append({"name": dns["name"], "ttl": dns["ttl"]})
    out += [
        {"address": f"{instance['address']}:{instance['port']}", "region": instance["region"], "city": instance["city"]}
        for instance in document.get("instances") or ()
    ]
    return out


def _rollout(rollout: Row, instances: Sequence[Json]) -> Json:
    commit = str(rollout.get("commit") or "")
    done = sum(1 for instance in instances if instance["commit"] == commit and instance["healthy"])
    return {
        "commit": commit,
        "state": rollout.get("state"),
        "started": rollout.get("started"),
        "text": f"{commit[:10]} on {done} of {len(instances)} instances",
    }
