"""Which branches a second is due for."""

from datetime import datetime

from tests.config.world import BASE, PIPELINES, layout_of, tenant_of

from trunkline.services.layouts import has_pipeline
from trunkline.services.timers import due

NIGHTLY = """
- pipeline:
    name: nightly
    manager: independent
    trigger: {timer: [{time: "30 2 * * *"}]}
- pipeline:
    name: periodic
    manager: independent
    trigger: {timer: {time: "0 3 * * *", dereference: true}}
- job: {name: test, run: test.yaml}
- project-template: {name: by-night, nightly: {jobs: [test]}}
- project: {name: org/app, templates: [by-night]}
- project: {name: org/lib, periodic: {jobs: [test]}}
"""
TREES = {
    "config": PIPELINES + BASE + NIGHTLY,
    "org/app": {"master": "", "stable": ""},
    "org/lib": "",
    "org/none": "",
}


def events_at(moment: datetime):
    layout = layout_of(TREES, tenant_of(untrusted=("org/app", "org/lib", "org/none")))
    return [(e.tenant, e.pipeline, e.project, e.ref, e.newrev, e.type) for e in due(layout, int(moment.timestamp()))]


def test_every_branch_of_every_project_that_has_the_pipeline_is_due_at_its_second():
    assert events_at(datetime(2026, 1, 5, 2, 30)) == [
        ("one", "nightly", "org/app", "refs/heads/master", None, "timer"),
        ("one", "nightly", "org/app", "refs/heads/stable", None, "timer"),
    ]


def test_a_tip_is_looked_up_only_where_the_trigger_wants_it():
    assert events_at(datetime(2026, 1, 5, 3, 0)) == [
        ("one", "periodic", "org/lib", "refs/heads/master", "tip", "timer")
    ]


def test_nothing_is_due_at_other_seconds():
    assert events_at(datetime(2026, 1, 5, 2, 30, 1)) == []


def test_a_project_has_a_pipeline_by_itself_or_by_a_template():
    layout = layout_of(TREES, tenant_of(untrusted=("org/app", "org/lib", "org/none")))
    has = {
        name: has_pipeline(layout, f"review.example.com/{name}", "nightly") for name in ("org/app", "org/lib", "org/x")
    }
    assert has == {"org/app": True, "org/lib": False, "org/x": False}
