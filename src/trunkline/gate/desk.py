"""One step's working copy of a queue: what is written is copied first, what is not stays shared with the old queue.

The only mutable thing of this room. It lives for one call of `step`, collects the effects in order, and remembers what
still has to be looked at: `touched` items (something about them changed) and `sweep_from`, the first position whose
footing may have changed.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from trunkline.gate.effects import Effect
from trunkline.gate.model import (
    REMEMBERED,
    BuildId,
    FutureState,
    Item,
    ItemId,
    JobId,
    Manager,
    Queue,
    RefKey,
    RequestId,
)
from trunkline.gate.window import initial


class Desk:
    def __init__(self, queue: Queue, now: float) -> None:
        self.before = queue
        self.now = now
        self.settings = queue.settings
        self.window = queue.window if queue.window >= 0 else initial(queue.settings)
        self.order = queue.order
        self.items = queue.items
        self.changes = queue.changes
        self.builds = queue.builds
        self.asking = queue.asking
        self.holding = queue.holding
        self.requiring = queue.requiring
        self.landed = queue.landed
        self.departed = queue.departed
        self.generation = queue.generation
        self.effects: list[Effect] = []
        self.touched: dict[ItemId, None] = {}
        self.sweep_from: int | None = None
        self.sweep_all = False
        self.reordered = False
        self.provided: set[ItemId] = set()  # items whose jobs that others may require have ended
        self._owned: set[str] = set()

    # -- what is asked of the world

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    # -- what has to be looked at

    def touch(self, item: ItemId) -> None:
        self.touched[item] = None

    def disturb(self, position: int) -> None:
        """From here on the footing may have changed."""
        if self.sweep_from is None or position < self.sweep_from:
            self.sweep_from = position

    def take_touched(self) -> list[ItemId]:
        """Touched items, front to back."""
        taken = [item for item in self.touched if item in self.items]
        self.touched = {}
        if len(taken) > 1:
            wanted = set(taken)
            taken = [item for item in self.order if item in wanted]
        return taken

    # -- reading

    @property
    def speculates(self) -> bool:
        return self.settings.manager is Manager.DEPENDENT

    def position(self, item: ItemId) -> int:
        """O(position), by identity in C."""
        return self.order.index(item)

    def ready_behind(self, position: int) -> list[ItemId]:
        """Items behind that have a job graph. O(window)."""
        end = len(self.order) if self.window == 0 else max(self.window, position + 1)
        found = []
        for item_id in self.order[position + 1 : end]:
            future = self.items[item_id].future
            if future is not None and future.state is FutureState.READY:
                found.append(item_id)
        return found

    # -- writing

    def _own(self, name: str) -> Any:
        if name not in self._owned:
            self._owned.add(name)
            setattr(self, name, dict(getattr(self, name)))
        return getattr(self, name)

    def put(self, item: Item) -> None:
        self._own("items")[item.id] = item

    def add(self, item: Item) -> None:
        self.put(item)
        self.order = (*self.order, item.id)
        changes = self._own("changes")
        for change in item.changes:
            changes[change.key] = item.id

    def remove(self, item: Item) -> int:
        """Take it out; returns the position where it stood."""
        position = self.position(item.id)
        self.order = self.order[:position] + self.order[position + 1 :]
        self.reordered = True
        del self._own("items")[item.id]
        changes = self._own("changes")
        for change in item.changes:
            if changes.get(change.key) == item.id:
                del changes[change.key]
        self.remember_departed(item.id)
        return position

    def remember_departed(self, item: ItemId) -> None:
        self.departed = (*self.departed[1 - REMEMBERED :], item)

    def remember_landed(self, keys: tuple[RefKey, ...]) -> None:
        self.landed = (*self.landed, *keys)[-REMEMBERED:]

    def set_holding(self, item: ItemId, holds: bool) -> bool:
        """Returns whether that is news."""
        if (item in self.holding) == holds:
            return False
        self.holding = (*self.holding, item) if holds else tuple(i for i in self.holding if i != item)
        return True

    def set_requiring(self, item: ItemId, requires: bool) -> None:
        if (item in self.requiring) != requires:
            self.requiring = (*self.requiring, item) if requires else tuple(i for i in self.requiring if i != item)

    def index_build(self, build: BuildId, item: ItemId, job: JobId) -> None:
        self._own("builds")[build] = (item, job)

    def forget_build(self, build: BuildId) -> None:
        self._own("builds").pop(build, None)

    def index_request(self, request: RequestId, item: ItemId, job: JobId) -> None:
        self._own("asking")[request] = (item, job)

    def forget_request(self, request: RequestId) -> None:
        self._own("asking").pop(request, None)

    # -- the end

    def queue(self) -> Queue:
        """The queue as it is now; the old one itself if nothing changed."""
        before = self.before
        fields = {name: value for name in _FIELDS if (value := getattr(self, name)) is not getattr(before, name)}
        return replace(before, **fields) if fields else before


_FIELDS = (
    "settings",
    "window",
    "order",
    "items",
    "changes",
    "builds",
    "asking",
    "holding",
    "requiring",
    "landed",
    "departed",
    "generation",
)
