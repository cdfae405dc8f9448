"""The timer driver: times as pipelines write them, and which triggers they fire. Pure; who looks at the clock lives in
services.

Nouns: TimeSpec (when), read from "minute hour day month weekday [second [jitter]]".
"""

from trunkline.connections.timer.timespec import TimeSpec, offset_s, parse

__all__ = ["TimeSpec", "offset_s", "parse"]
