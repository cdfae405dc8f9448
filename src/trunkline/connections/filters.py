"""Which triggers an event fires and which requirements a change meets. Pure.

The rules are the driver's (Zuul configuration reference, connections and drivers); the event or change says whose.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trunkline.connections.gerrit import filters as gerrit_filters
from trunkline.connections.git import filters as git_filters
from trunkline.connections.model import ChangeInfo, TriggerEvent
from trunkline.connections.zuul import filters as zuul_filters

Config = Mapping[str, Any]


def trigger_matches(
    trigger: Config, event: TriggerEvent, change: ChangeInfo | None = None, now: float | None = None
) -> bool:
    """Whether one trigger (a map from the pipeline's configuration) is fired by the event.

    `change` is the event's change as it is now, where it has one; `now` (epoch seconds, default: the event's time) is
    for approvals' ages.
    """
    match event.driver:
        case "gerrit":
            return gerrit_filters.trigger_matches(trigger, event, change, event.at if now is None else now)
        case "git":
            return git_filters.trigger_matches(trigger, event)
        case "timer":
            return event.type == "timer" and trigger.get("time") == event.timespec
        case "zuul":
            return zuul_filters.trigger_matches(trigger, event)
        case _:
            return False


def requirement_problem(
    require: Sequence[Config], reject: Sequence[Config], change: ChangeInfo | None, now: float
) -> str | None:
    """Why the change does not meet its pipeline's requirements, or None. `change` None stands for a ref."""
    return gerrit_filters.requirement_problem(require, reject, change, now)


def merge_problem(change: ChangeInfo, labels: Collection[str]) -> str | None:
    """Why a pipeline whose success report sets these labels could not land the change, or None."""
    return gerrit_filters.merge_problem(change, labels)
