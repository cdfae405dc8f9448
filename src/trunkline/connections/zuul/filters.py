"""The zuul driver's triggers (Zuul configuration reference §7.4). Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from trunkline.connections.model import TriggerEvent
from trunkline.connections.patterns import any_matches, as_list

LANDED, ENTERED = "project-change-merged", "parent-change-enqueued"


def trigger_matches(trigger: Mapping[str, Any], event: TriggerEvent) -> bool:
    """`pipeline` of the trigger says which pipeline the needed change came into."""
    if event.type not in as_list(trigger.get("event")):
        return False
    return trigger.get("pipeline") is None or any_matches(trigger["pipeline"], event.pipeline)


def is_wanted(triggers: Iterable[Mapping[str, Any]], kind: str, pipeline: str | None = None) -> bool:
    """Whether any of the triggers could be fired by such a happening."""
    return any(
        kind in as_list(trigger.get("event"))
        and (pipeline is None or trigger.get("pipeline") is None or any_matches(trigger["pipeline"], pipeline))
        for trigger in triggers
    )
