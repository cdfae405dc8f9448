"""How far speculation may reach: additive increase, multiplicative decrease, as the pipeline says."""

from __future__ import annotations

from trunkline.gate.model import Manager, QueueSettings

UNLIMITED = 0


def initial(settings: QueueSettings) -> int:
    """The window of a fresh queue. 0 = unlimited."""
    match settings.manager:
        case Manager.INDEPENDENT:
            return UNLIMITED
        case Manager.SERIAL | Manager.SUPERCEDENT:
            return 1
        case Manager.DEPENDENT:
            return settings.window


def grown(window: int, settings: QueueSettings) -> int:
    """After an item has landed."""
    if settings.manager is not Manager.DEPENDENT or window == UNLIMITED:
        return window
    if settings.increase_type == "exponential":
        wider = window * settings.increase_factor
    else:
        wider = window + settings.increase_factor
    return _bounded(wider, settings)


def shrunk(window: int, settings: QueueSettings) -> int:
    """After an item has failed at the head."""
    if settings.manager is not Manager.DEPENDENT or window == UNLIMITED:
        return window
    if settings.decrease_type == "linear":
        narrower = window - settings.decrease_factor
    else:
        narrower = window // settings.decrease_factor
    return _bounded(narrower, settings)


def reconfigured(window: int, before: QueueSettings, after: QueueSettings) -> int:
    """What was learned is kept unless the setting itself was changed."""
    if before.manager is not after.manager or before.window != after.window:
        return initial(after)
    if after.manager is not Manager.DEPENDENT or window == UNLIMITED:
        return window
    return _bounded(window, after)


def contains(window: int, position: int) -> bool:
    return window == UNLIMITED or position < window


def _bounded(window: int, settings: QueueSettings) -> int:
    window = max(window, settings.window_floor, 1)
    return window if settings.window_ceiling is None else min(window, settings.window_ceiling)
