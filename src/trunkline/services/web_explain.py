"""Why a change is where it is: its futures, builds and verdicts as they happened, in words, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.gate.explain import explain
from trunkline.gate.model import Change, Queue
from trunkline.store import Connection
from trunkline.store import web as reads

Json = dict[str, Any]


def standing(queues: Sequence[Queue], change: str, now: float) -> list[Json]:
    """Where a change stands at this moment, in the gate's own words; nothing if it is in no queue."""
    out: list[Json] = []
    for queue in queues:
        for item in queue.items.values():
            if any(_is(one, change) for one in item.changes):
                out += [
                    {
                        "time": now,
                        "now": True,
                        "what": reason.kind,
                        "text": reason.text,
                        "item": item.id,
                        "pipeline": queue.settings.pipeline,
                    }
                    for reason in explain(queue, item)
                ]
    return out


def _is(one: Change, wanted: str) -> bool:
    number, _, patchset = wanted.partition(",")
    if one.number is None:
        return one.newrev == wanted
    return str(one.number) == number and patchset in ("", one.patchset)


_WHAT = {"triggered": "enqueued", "result": "ended", "build": "built"}


async def story(conn: Connection, tenant: str, change: str) -> list[Json]:
    """`change` is NUMBER,PATCHSET, NUMBER, or a commit."""
    number, _, patchset = change.partition(",")
    if number.isdigit():
        items = await reads.items_of_change(conn, tenant, int(number), patchset or None, None)
    else:
        items = await reads.items_of_change(conn, tenant, None, None, change)
    futures = await reads.futures_of(conn, items)
    rows = await reads.story_of(conn, tenant, items)
    out = [_entry(row) for row in rows if row["at"] is not None]
    out += _futures(futures)
    return sorted(out, key=lambda entry: -float(entry["time"]))


def _entry(row: Mapping[str, Any]) -> Json:
    return {
        "time": row["at"],
        "what": _WHAT.get(row["kind"], row["kind"].replace("-", " ")),
        "text": row["text"] or "",
        "item": row["item"],
        "pipeline": row["pipeline"],
    }


def _futures(rows: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Each new future of an item says on what it is tested; a second one says that the first was given up."""
    seen: set[str] = set()
    out = []
    for row in rows:
        own = row["own"]
        ahead = [_name(change) for change in row["changes"][: len(row["changes"]) - own]]
        stands_on = " + ".join(["trunk", *ahead])
        again = row["item"] in seen
        seen.add(row["item"])
        text = f"what was ahead has changed: tested again, on {stands_on}" if again else f"tested on {stands_on}"
        if row["errors"]:
            text += f"; its configuration has {len(row['errors'])} errors"
        out.append(
            {
                "time": row["created"],
                "what": "moved" if again else "placed",
                "text": text,
                "item": row["item"],
                "pipeline": row["pipeline"],
            }
        )
    return out


def _name(change: Mapping[str, Any]) -> str:
    if change.get("number") is not None:
        return f"{change['number']},{change.get('patchset')}"
    return str(change.get("ref") or change.get("key"))
