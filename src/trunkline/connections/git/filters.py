"""The git driver's triggers (Zuul configuration reference §7.2). Pure."""

from collections.abc import Mapping
from typing import Any

from trunkline.connections.model import TriggerEvent
from trunkline.connections.patterns import any_matches


def trigger_matches(trigger: Mapping[str, Any], event: TriggerEvent) -> bool:
    if not any_matches(trigger.get("event", "ref-updated"), event.type):
        return False
    if trigger.get("ref") is not None and not any_matches(trigger["ref"], event.ref):
        return False
    return not (trigger.get("ignore-deletes", True) and event.is_delete)
