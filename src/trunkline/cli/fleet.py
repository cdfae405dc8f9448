"""Applications: where they run, what would be done next, and why. Without a verb: run the fleet service."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from trunkline.store.database import Connection, Row

VERBS = {
    "serve": "run the service (also without any verb)",
    "status": "applications and their instances",
    "plan": "what would be done now, or if a changed application file landed",
    "explain": "how an application stands, why, and what was done last",
    "inventory": "running instances as an Ansible inventory (a script for `ansible -i`)",
    "endpoints": "what is published, as JSON",
}


def configure(parser: argparse.ArgumentParser) -> None:
    _add_options(parser)
    parser.set_defaults(config=None, debug=False, instance="1", tenant=None, json=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    made = {verb: verbs.add_parser(verb, help=text, description=text) for verb, text in VERBS.items()}
    for one in made.values():
        _add_options(one)
    for verb in ("status", "inventory", "endpoints"):
        made[verb].add_argument("application", nargs="?")
    made["inventory"].add_argument("--list", action="store_true", help="what Ansible asks for; the default")
    made["inventory"].add_argument("--host", help="variables of one host")
    made["explain"].add_argument("application")
    made["plan"].add_argument("application")
    made["plan"].add_argument("--file", "-f", type=Path, help="an application file as it would land")


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Options that may stand before or after the verb: absent ones leave what the other place said."""
    absent = argparse.SUPPRESS
    places = "zuul.conf (default: /etc/zuul/zuul.conf, ~/zuul.conf)"
    parser.add_argument("--config", "-c", type=Path, default=absent, help=places)
    parser.add_argument("--debug", "-d", action="store_true", default=absent)
    parser.add_argument("--instance", default=absent, help="tells services of one kind on one machine apart")
    parser.add_argument("--tenant", "-t", default=absent, help="default: the only one there is")
    parser.add_argument("--json", action="store_true", default=absent, help="for programs")


def run(args: argparse.Namespace) -> int:
    if args.verb in (None, "serve"):
        from trunkline.cli import service

        return service.run(args)
    from trunkline.services.settings import Settings, SettingsError

    try:
        dburi = Settings.read(args.config).dburi
    except SettingsError as problem:
        print(f"trunkline fleet: {problem}", file=sys.stderr)
        return 2
    return asyncio.run(_answer(dburi, args))


async def _answer(dburi: str, args: argparse.Namespace) -> int:
    from psycopg_pool import PoolTimeout

    from trunkline.store import Database

    try:
        async with await Database.open(dburi, max_size=1, name="trunkline-cli") as db, db.connection() as conn:
            tenant = args.tenant or await _only_tenant(conn)
            return await _ANSWERS[args.verb](conn, tenant, args)
    except _Refused as refused:
        print(f"trunkline fleet {args.verb}: {refused}", file=sys.stderr)
        return 1
    except PoolTimeout:
        print("trunkline fleet: the database does not answer; is the world up?", file=sys.stderr)
        return 1


class _Refused(Exception):
    pass


async def _only_tenant(conn: Connection) -> str:
    from trunkline.store import fleet

    found = sorted({tenant for tenant, _ in await fleet.names(conn)})
    if len(found) > 1:
        raise _Refused(f"say which tenant: --tenant {'|'.join(found)}")
    return found[0] if found else ""


async def _status(conn: Connection, tenant: str, args: argparse.Namespace) -> int:
    from trunkline.store import fleet

    rows = [row for row in await fleet.listed(conn, tenant) if args.application in (None, row["name"])]
    if args.application and not rows:
        raise _Refused(f"there is no application {args.application} in tenant {tenant}")
    found = [(row, await fleet.instances(conn, tenant, row["name"])) for row in rows]
    faults = await fleet.faults(conn, tenant)
    if args.json:
        print(json.dumps([_status_json(row, instances) for row, instances in found], default=str, indent=1))
        return 0
    out = Console()
    for row, instances in found:
        out.print(_headline(row), highlight=False)
        if instances:
            out.print(_instances_table(instances))
    for fault in faults:
        out.print(f"[red]{fault['project']} {fault['branch']} at {fault['commit'][:12]} can not be read:[/]")
        for message in fault["messages"]:
            out.print(message, markup=False, highlight=False)
    if not found and not faults:
        out.print("no application has landed yet")
    return 0


def _status_json(row: Row, instances: list[Row]) -> dict[str, Any]:
    body = row["body"]
    same = ("target", "good", "generation", "rollout", "retired")
    return {
        **{key: row[key] for key in ("tenant", "name", "project", "branch", "path", "updated")},
        **{key: body.get(key) for key in same},
        "status": row["status"],
        "instances": [instance["body"] for instance in instances],
    }


def _headline(row: Row) -> str:
    status = row["status"]
    said = f"[bold]{row['name']}[/] {status.get('condition', 'new')}: {status.get('serving', 0)} of "
    said += f"{status.get('wanted', 0)} serve, survives the loss of: {status.get('survives', 'none')}"
    return "\n  ".join([said, *(message.replace("[", "\\[") for message in status.get("messages", ()))])


def _instances_table(instances: list[Row]) -> Table:
    table = Table(box=None, pad_edge=True)
    for column in (
        "instance",
        "state",
        "health",
        "published",
        "provider",
        "region",
        "law",
        "address",
        "commit",
        "since",
    ):
        table.add_column(column)
    for row in instances:
        body = row["body"]
        state = f"{row['state']} ({body['leaving']})" if body.get("leaving") else row["state"]
        place = (row["provider"], row["region"], row["jurisdiction"], body.get("address") or "-")
        age = _age(time.time() - body["state_since"])
        yes = "yes" if row["published"] else "no"
        table.add_row(row["id"], state, row["health"], yes, *place, (row["commit"] or "-")[:12], age)
    return table


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


async def _plan(conn: Connection, tenant: str, args: argparse.Namespace) -> int:
    from trunkline.services.fleet_reading import NotPlanned, dry_run

    try:
        texts = {"trunkline.yaml": args.file.read_text()} if args.file else None
        _, plan = await dry_run(conn, tenant, args.application, texts)
    except OSError as problem:
        raise _Refused(f"{args.file}: {problem.strerror}") from None
    except NotPlanned as problem:
        raise _Refused(str(problem)) from None
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(plan), indent=1).decode())
        return 0
    for line in _plan_lines(plan):
        print(line)
    return 0


def _plan_lines(plan: Any) -> Iterator[str]:
    for action in plan.actions:
        body = msgspec.to_builtins(action)
        whom = body.get("instance") or ", ".join(body.get("instances", ())) or body.get("commit", "")
        yield f"{body['type']:<9} {whom}: {action.reason}"
    if not plan.actions:
        yield "nothing to do"
    yield f"then {plan.status.condition.value}: {plan.status.serving} of {plan.status.wanted} serve"
    yield from (f"  {message}" for message in plan.status.messages)


async def _explain(conn: Connection, tenant: str, args: argparse.Namespace) -> int:
    from trunkline.store import fleet

    row = next((r for r in await fleet.listed(conn, tenant) if r["name"] == args.application), None)
    if row is None:
        raise _Refused(f"there is no application {args.application} in tenant {tenant}")
    instances = await fleet.instances(conn, tenant, args.application)
    actions = await fleet.actions(conn, tenant, args.application, 20)
    rollouts = await fleet.rollouts(conn, tenant, args.application, 5)
    if args.json:
        told = {**_status_json(row, instances), "actions": actions, "rollouts": rollouts}
        print(json.dumps(told, default=str, indent=1))
        return 0
    out = Console()
    out.print(_headline(row), highlight=False)
    out.print(f"defined in {row['project']} {row['path']} on {row['branch']}", highlight=False)
    lines = [f"{i['id']} {i['state']}: {i['body']['reason']}" for i in instances]
    lines += ["rollouts, newest first:"] + [
        f"  {r['started']:%F %T} {r['commit'][:12]} {r['state']} {r['reason']}" for r in rollouts
    ]
    lines += ["done last, newest first:"] + [
        f"  {a['at']:%F %T} {a['kind']} {a['instance'] or ''} {a['reason']}" for a in actions
    ]
    for line in lines:
        out.print(line, markup=False, highlight=False)
    return 0


async def _inventory(conn: Connection, tenant: str, args: argparse.Namespace) -> int:
    from trunkline.services.fleet_reading import inventory

    found = await inventory(conn, tenant, [args.application] if args.application else [])
    print(json.dumps(found["_meta"]["hostvars"].get(args.host, {}) if args.host else found, indent=1))
    return 0


async def _endpoints(conn: Connection, tenant: str, args: argparse.Namespace) -> int:
    from trunkline.store import fleet

    rows = await fleet.endpoints(conn, tenant, args.application)
    if args.application and not rows:
        raise _Refused(f"nothing is published for {args.application} in tenant {tenant}")
    documents = [row["document"] for row in rows]
    print(json.dumps(documents[0] if args.application else documents, indent=1))
    return 0


_ANSWERS: dict[str, Callable[[Connection, str, argparse.Namespace], Awaitable[int]]] = {
    "status": _status,
    "plan": _plan,
    "explain": _explain,
    "inventory": _inventory,
    "endpoints": _endpoints,
}
