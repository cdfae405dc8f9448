"""The zuul driver: what the gate itself does as a trigger (a change landed, a change that others need came in). Pure."""

from trunkline.connections.zuul.filters import ENTERED, LANDED, is_wanted, trigger_matches

__all__ = ["ENTERED", "LANDED", "is_wanted", "trigger_matches"]
