"""(queue, event, now) → (queue, effects)."""

from __future__ import annotations

from trunkline.gate.effects import Effect
from trunkline.gate.events import Event
from trunkline.gate.model import Queue


def step(queue: Queue, event: Event, now: float) -> tuple[Queue, tuple[Effect, ...]]:
    """Advance one queue by one event. Pure and deterministic; stale and repeated events change nothing."""
    return queue, ()
