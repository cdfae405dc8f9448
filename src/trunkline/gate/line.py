"""Who stands on whom: placing items on futures, and what a verdict ahead does to those behind.

An item's future has a `base`: the future of the nearest non-failing item ahead (NNFI), or the branch tips. The sweep walks
the window front to back carrying that base; an item whose base is another one is reset ("gate reset"), one that has
none is placed. When an item lands, those that stood directly on it stand on the tips, undisturbed.

Items outside the window have no future and cost nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from trunkline.gate.desk import Desk
from trunkline.gate.effects import BuildsetClosed, MergeFuture
from trunkline.gate.model import (
    ON_TIPS,
    Change,
    Future,
    FutureId,
    FutureState,
    Item,
    Landing,
    Manager,
    stable_id,
)
from trunkline.gate.runs import Work
from trunkline.gate.starting import touch_waiting_behind
from trunkline.gate.window import contains

NEEDED_FAILS = "a needed change is failing"

DECIDED = frozenset({FutureState.READY, FutureState.CONFLICT, FutureState.BROKEN})
"""States in which the future has a buildset that others can see."""


def place(desk: Desk, item: Item, base: FutureId, ahead: tuple[Change, ...]) -> Item:
    """Give the item a new future on `base` and ask for its merge."""
    generation = item.generation + 1
    future = Future(FutureId(stable_id(item.id, "future", generation)), base=base)
    placed = replace(item, generation=generation, future=future, failing=())
    desk.put(placed)
    desk.emit(MergeFuture(item.id, future.id, base, ahead + item.changes, own=len(item.changes)))
    return placed


def withdraw(desk: Desk, item: Item, result: str = "DEQUEUED") -> Item:
    """Take the item's future away: stop its builds, give everything back, close its buildset."""
    future = item.future
    if future is None:
        return item
    work = Work(desk, item)
    for job in work.runs:
        work.drop(job)
    if future.state in DECIDED:
        desk.emit(BuildsetClosed(item.id, future.id, result))
    bare = replace(item, future=None, failing=())
    desk.put(bare)
    desk.set_requiring(item.id, False)
    if desk.set_holding(item.id, False):
        touch_waiting_behind(desk, desk.position(item.id))
    return bare


def landed_under(desk: Desk, position: int, landed: FutureId) -> None:
    """What stood on the future that has landed stands on the tips. O(failing items that follow directly)."""
    for item_id in desk.order[position:]:
        item = desk.items[item_id]
        if item.future is None or item.future.base != landed:
            if item.future is None and not item.failing:
                return
            if item.future is not None and not item.failing:
                return
            continue
        desk.put(replace(item, future=replace(item.future, base=ON_TIPS)))
        if not item.failing:
            return


def sweep(desk: Desk) -> None:
    """Make every item of the window stand where it should, from the first that may not."""
    start, everything = desk.sweep_from or 0, desk.sweep_all
    desk.sweep_from, desk.sweep_all = None, False
    if desk.speculates:
        _sweep_line(desk, start, everything)
    else:
        _sweep_apart(desk, everything)


def _sweep_line(desk: Desk, start: int, everything: bool) -> None:
    base, ahead = _footing(desk, start)
    for position in range(start, len(desk.order)):
        item = desk.items[desk.order[position]]
        if not contains(desk.window, position):
            if item.future is None and not item.failing and not everything:
                return
            if item.landing is Landing.NONE:
                _leave_window(desk, item)
            continue
        if item.landing is Landing.LANDED:
            continue
        if item.landing is Landing.NONE:
            item = _settle_on(desk, item, base, ahead)
        if item.future is not None and not item.failing:
            base = item.future.id
            ahead += item.changes


def _settle_on(desk: Desk, item: Item, base: FutureId, ahead: list[Change]) -> Item:
    if _needed_fails(desk, item):
        if item.failing != (NEEDED_FAILS,) or item.future is not None:
            item = replace(withdraw(desk, item), failing=(NEEDED_FAILS,))
            desk.put(item)
        return item
    if item.future is not None and item.future.base != base:
        item = withdraw(desk, item)
    if item.future is None:
        item = place(desk, item, base, tuple(ahead))
    return item


def _leave_window(desk: Desk, item: Item) -> None:
    item = withdraw(desk, item)
    if item.failing:
        desk.put(replace(item, failing=()))


def _needed_fails(desk: Desk, item: Item) -> bool:
    for change in item.changes:
        for key in change.needs:
            other = desk.changes.get(key)
            if other is not None and other != item.id and desk.items[other].failing:
                return True
    return False


def _footing(desk: Desk, position: int) -> tuple[FutureId, list[Change]]:
    """The base and the changes that an item at `position` stands on. O(position)."""
    base, ahead = ON_TIPS, list[Change]()
    for item_id in desk.order[:position]:
        item = desk.items[item_id]
        if item.future is not None and not item.failing and item.landing is not Landing.LANDED:
            base = item.future.id
            ahead.extend(item.changes)
    return base, ahead


def _sweep_apart(desk: Desk, everything: bool) -> None:
    """Managers that do not speculate: each live item in the window on the tips (and its non-live dependencies)."""
    independent = desk.settings.manager is Manager.INDEPENDENT
    below: tuple[Change, ...] = ()
    for position, item_id in enumerate(desk.order):
        item = desk.items[item_id]
        if not item.live:
            below += item.changes
        elif not contains(desk.window, position):
            if item.future is None and not everything:
                return
            _leave_window(desk, item)
        elif item.future is None:
            place(desk, item, ON_TIPS, below if independent else ())
