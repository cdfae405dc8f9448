"""Handlers of events about items and the queue as a whole: who comes, who goes, who is moved, what is reconfigured."""

from __future__ import annotations

from msgspec.structs import replace

from trunkline.gate import verdict, window
from trunkline.gate.desk import Desk
from trunkline.gate.effects import (
    FreezeJobs,
    ItemLeft,
    Report,
    ReportKind,
)
from trunkline.gate.events import (
    ChangeAbandoned,
    ChangeMergedElsewhere,
    Dequeue,
    DequeueReason,
    Enqueue,
    Promote,
    Reconfigured,
    RequirementsLost,
    Supersede,
    Tick,
)
from trunkline.gate.model import (
    ON_TIPS,
    FutureState,
    Item,
    ItemId,
    ItemSpec,
    Landing,
    Manager,
    RefKey,
)


def enqueue(desk: Desk, event: Enqueue) -> None:
    spec = event.item
    if spec.id in desk.items or spec.id in desk.departed or not spec.changes:
        return
    holders = {desk.changes[change.key] for change in spec.changes if change.key in desk.changes}
    if any(_covers(desk.items[holder], spec) for holder in holders):
        return
    for holder in holders:
        if holder in desk.items and desk.items[holder].landing is Landing.NONE:
            verdict.put_out(desk, desk.items[holder], None, "DEQUEUED", "")
    missing = _missing_needs(desk, spec)
    if missing:
        _refuse(desk, spec, missing)
        return
    if desk.settings.manager is Manager.SUPERCEDENT and spec.live:
        for waiting in desk.order[1:]:
            verdict.put_out(desk, desk.items[waiting], None, "DEQUEUED", "Superseded by a newer ref.")
    desk.add(
        Item(
            spec.id,
            spec.changes,
            live=spec.live,
            event_id=spec.event_id,
            enqueued_at=spec.enqueued_at or desk.now,
            relative_priority=spec.relative_priority,
            quiet=spec.quiet,
        )
    )
    if desk.settings.reports_enqueue and spec.live:
        desk.emit(Report(spec.id, ReportKind.ENQUEUE, spec.changes, ON_TIPS, event_id=spec.event_id))
    desk.disturb(len(desk.order) - 1)


def _covers(item: Item, spec: ItemSpec) -> bool:
    """It is here already: live (or as little live as asked for) with exactly these changes, or landing them."""
    if item.landing is not Landing.NONE:
        return True
    return {c.key for c in item.changes} == {c.key for c in spec.changes} and item.live >= spec.live


def _missing_needs(desk: Desk, spec: ItemSpec) -> list[RefKey]:
    """Needs that were in the queue when the item was admitted and have left it since without landing."""
    if not desk.speculates:
        return []
    own = {change.key for change in spec.changes}
    needs = [key for change in spec.changes for key in change.needs]
    return [key for key in needs if key not in own and key not in desk.changes and key not in desk.landed]


def _refuse(desk: Desk, spec: ItemSpec, missing: list[RefKey]) -> None:
    message = "\n".join(["This change needs changes that are not in the queue any more:", *(f"- {k}" for k in missing)])
    desk.emit(
        Report(spec.id, ReportKind.ENQUEUE_REFUSED, spec.changes, ON_TIPS, event_id=spec.event_id, message=message)
    )
    desk.emit(ItemLeft(spec.id, tuple(change.key for change in spec.changes), result="DEQUEUED"))
    desk.remember_departed(spec.id)


def dequeue(desk: Desk, event: Dequeue) -> None:
    item_id = event.item or (desk.changes.get(event.change) if event.change else None)
    _put_out(desk, item_id, event.message, event.reason)


def _put_out(desk: Desk, item_id: ItemId | None, message: str, reason: DequeueReason) -> None:
    item = desk.items.get(item_id) if item_id else None
    if item is None or not item.live or item.landing is not Landing.NONE:
        return  # once landing was asked for, its answer decides
    if reason in (DequeueReason.DEPENDENCY, DequeueReason.REQUIREMENTS):
        verdict.put_out(desk, item, ReportKind.FAILURE, "FAILURE", message)
    elif reason is DequeueReason.RECONFIGURED:
        verdict.put_out(desk, item, None, "DEQUEUED", message)
    else:
        verdict.put_out(desk, item, ReportKind.DEQUEUE, "DEQUEUED", message)


def supersede(desk: Desk, event: Supersede) -> None:
    message = f"Superseded by patch set {event.by}." if event.by else "Superseded by a newer patch set."
    _put_out(desk, desk.changes.get(event.change), message, DequeueReason.NEW_PATCHSET)


def requirements_lost(desk: Desk, event: RequirementsLost) -> None:
    """A failure, as the change cannot land: whoever took the vote back is told."""
    message = "\n\n".join(
        filter(None, ["This change is unable to merge due to a missing merge requirement.", event.message])
    )
    _put_out(desk, desk.changes.get(event.change), message, DequeueReason.REQUIREMENTS)


def abandoned(desk: Desk, event: ChangeAbandoned) -> None:
    _put_out(desk, desk.changes.get(event.change), "The change was abandoned.", DequeueReason.ABANDONED)


def merged_elsewhere(desk: Desk, event: ChangeMergedElsewhere) -> None:
    """In a queue that lands: it goes on, as what stands on it does; landing it again costs nothing."""
    item_id = desk.changes.get(event.change)
    if item_id is not None and desk.speculates and event.change not in desk.landed:
        desk.remember_landed((event.change,))


def promote(desk: Desk, event: Promote) -> None:
    """Bring these (and what they need) to the front, in this order. What was under way there stays at the very front."""
    front: dict[ItemId, None] = {}
    for item_id in desk.order:
        item = desk.items[item_id]
        under_way = item.landing is not Landing.NONE or (item.future is not None and not desk.speculates)
        if under_way or not item.live:
            front[item_id] = None
    for key in event.changes:
        _with_needs(desk, desk.changes.get(key), front)
    order = (*front, *(item for item in desk.order if item not in front))
    if order != desk.order:
        desk.order = order
        desk.reordered = True
        desk.sweep_all = True
        desk.disturb(0)


def _with_needs(desk: Desk, item_id: ItemId | None, into: dict[ItemId, None]) -> None:
    """Depth first, needs before what needs them; an explicit stack, as chains may be long."""
    stack: list[tuple[ItemId, bool]] = [(item_id, False)] if item_id else []
    seen: set[ItemId] = set()
    while stack:
        current, expanded = stack.pop()
        if expanded:
            into.setdefault(current)
            continue
        if current in seen or current in into:
            continue
        seen.add(current)
        stack.append((current, True))
        needs = [key for change in desk.items[current].changes for key in change.needs]
        stack += [(desk.changes[key], False) for key in reversed(needs) if key in desk.changes]


def reconfigured(desk: Desk, event: Reconfigured) -> None:
    if event.generation and event.generation <= desk.generation:
        return
    desk.generation = event.generation or desk.generation
    desk.window = window.reconfigured(desk.window, desk.settings, event.settings)
    desk.settings = event.settings
    desk.sweep_all = True
    desk.disturb(0)
    if not event.refreeze:
        return
    for item_id in desk.order:
        item = desk.items[item_id]
        future = item.future
        if future is None or item.landing is not Landing.NONE:
            continue
        if future.state in (FutureState.READY, FutureState.BROKEN, FutureState.FREEZING):
            again = future.state is not FutureState.FREEZING
            asked = replace(future, refreezing=again, round=future.round + 1)
            desk.put(replace(item, future=asked))
            desk.emit(FreezeJobs(item.id, future.id, future.base, item.changes, asked.round))


def tick(desk: Desk, event: Tick) -> None:
    if desk.order:
        desk.disturb(0)
