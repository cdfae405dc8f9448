"""Times as pipelines write them, and triggers that the gate itself fires."""

from datetime import datetime

import pytest

from trunkline.connections import TriggerEvent, trigger_matches
from trunkline.connections.timer import offset_s, parse


@pytest.mark.parametrize(
    ("text", "moment", "due"),
    [
        ("* * * * * */1", datetime(2026, 1, 5, 3, 4, 5), True),
        ("30 2 * * *", datetime(2026, 1, 5, 2, 30, 0), True),
        ("30 2 * * *", datetime(2026, 1, 5, 2, 30, 1), False),
        ("0 0 * * 0", datetime(2026, 1, 5), True),  # a Monday
        ("0 0 * * 0", datetime(2026, 1, 4), False),
        ("0 0 * * sun", datetime(2026, 1, 4), True),
        ("0 0 * jan-mar mon-fri", datetime(2026, 2, 2), True),
        ("*/15 8-18/2 * * *", datetime(2026, 1, 5, 10, 45), True),
        ("*/15 8-18/2 * * *", datetime(2026, 1, 5, 9, 45), False),
        ("0 0 1,15 * *", datetime(2026, 1, 15), True),
        ("0 0 last * *", datetime(2026, 2, 28), True),
        ("0 0 2nd fri * *", datetime(2026, 1, 9), True),
        ("0 0 2nd fri * *", datetime(2026, 1, 2), False),
        ("0 0 last mon * *", datetime(2026, 1, 26), True),
    ],
)
def test_a_time_is_due_when_it_says(text, moment, due):
    assert parse(text).is_due(moment) is due


@pytest.mark.parametrize("text", ["* * * *", "61 * * * *", "* * * * 7", "* * * foo *", "a b c d e", "* * * * * * * *"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"not a time|fields"):
        parse(text)


def test_jitter_is_the_same_for_the_same_branch_and_within_its_bound():
    spec = parse("0 0 * * * 0 600")
    offsets = {offset_s(spec, "tenant", "host/project", branch) for branch in map(str, range(50))}
    assert offset_s(spec, "t", "p", "b") == offset_s(spec, "t", "p", "b")
    assert max(offsets) <= 600
    assert len(offsets) > 10


def event(driver: str, type: str, **more) -> TriggerEvent:
    return TriggerEvent(connection="gerrit", driver=driver, delivery="d", type=type, project="p", at=0.0, **more)


def test_a_timer_fires_the_trigger_with_its_own_time_only():
    due = event("timer", "timer", timespec="0 0 * * *")
    assert due.trigger == "timer"
    assert trigger_matches({"time": "0 0 * * *"}, due)
    assert not trigger_matches({"time": "0 1 * * *"}, due)


def test_a_landing_fires_triggers_for_it_whatever_the_pipeline():
    landed = event("zuul", "project-change-merged")
    assert landed.trigger == "zuul"
    assert trigger_matches({"event": "project-change-merged"}, landed)
    assert not trigger_matches({"event": "parent-change-enqueued"}, landed)


def test_a_parent_that_comes_in_fires_triggers_that_name_its_pipeline():
    entered = event("zuul", "parent-change-enqueued", pipeline="gate")
    assert trigger_matches({"event": ["parent-change-enqueued"]}, entered)
    assert trigger_matches({"event": "parent-change-enqueued", "pipeline": ["^g.*"]}, entered)
    assert not trigger_matches({"event": "parent-change-enqueued", "pipeline": "check"}, entered)
