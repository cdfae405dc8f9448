"""Futures: what a change may use of its own configuration, what it is blamed for, and what is shared."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.world import BASE, HOST, PIPELINES, files_of, graph, job, jobs, layout_of, replaced, tenant_of
from trunkline.config.discovery import read_branch

CONFIG = (
    PIPELINES
    + BASE
    + """
- job: {name: shared, run: playbooks/shared.yaml}
"""
)
APP = """
- job: {name: unit, run: playbooks/unit.yaml, vars: {level: 1}}
- project: {check: {jobs: [unit, shared]}}
"""


def test_a_change_is_tested_with_its_own_definition():
    layout = layout_of({"config": CONFIG, "org/app": APP})
    future = replaced(layout, "org/app", APP.replace("level: 1", "level: 2"))
    assert job(future, "unit").vars == {"level": 2}
    assert job(layout, "unit").vars == {"level": 1}


def test_a_change_of_a_config_project_is_validated_and_not_used():
    layout = layout_of({"config": CONFIG, "org/app": APP})
    future = replaced(
        layout, "config", CONFIG.replace("shared.yaml", "other.yaml") + "- job: {name: x, nodeset: none}\n"
    )
    assert job(future, "shared").playbooks[0].path == "playbooks/shared.yaml"
    (error,) = future.new_errors(layout, {(f"{HOST}/config", "master")})
    assert error.name == "Nodeset Not Found"


def test_pipelines_of_a_change_are_never_used():
    layout = layout_of({"config": CONFIG, "org/app": APP})
    future = replaced(layout, "config", CONFIG.replace("name: gate", "name: other"))
    assert list(future.pipelines) == ["check", "gate"]


def test_a_semaphore_takes_effect_on_landing_only():
    layout = layout_of({"config": CONFIG, "org/app": APP + "- semaphore: {name: s, max: 2}\n"})
    future = replaced(layout, "org/app", APP + "- semaphore: {name: s, max: 5}\n")
    assert future.semaphores["s"] == 2


def test_an_old_error_does_not_count_against_a_change_elsewhere():
    broken = "- project: {check: {jobs: [absent]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": APP, "org/broken": broken})
    assert len(layout.errors) == 1
    future = replaced(layout, "org/app", APP.replace("level: 1", "level: 2"))
    assert future.new_errors(layout, {(f"{HOST}/org/app", "master")}) == ()
    assert len(future.errors) == 1


def test_an_old_error_counts_against_a_change_that_touches_its_branch():
    broken = "- project: {check: {jobs: [absent]}}\n"
    layout = layout_of({"config": CONFIG, "org/broken": broken})
    future = replaced(layout, "org/broken", broken + "- job: {name: new}\n")
    assert len(future.new_errors(layout, {(f"{HOST}/org/broken", "master")})) == 1


def test_removing_a_job_that_others_use_is_an_error_of_the_change():
    user = "- project: {check: {jobs: [unit]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": APP, "org/user": user})
    future = replaced(layout, "org/app", "- project: {check: {jobs: [shared]}}\n")
    (error,) = future.new_errors(layout, {(f"{HOST}/org/app", "master")})
    assert error.project == "org/user"
    assert '"unit"' in error.short


def test_a_job_whose_own_definition_changes_runs_in_spite_of_its_files():
    app = "- job: {name: docs, run: d.yaml, files: ^docs/}\n- project: {check: {jobs: [docs]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": app})
    future = replaced(layout, "org/app", app.replace("run: d.yaml", "run: d.yaml, timeout: 9"))
    assert jobs(future, files=("zuul.yaml",), before=layout) == ["docs"]
    assert jobs(layout, files=("src/x",)) == []
    same = replaced(layout, "org/app", app + "- job: {name: other}\n")
    assert jobs(same, files=("zuul.yaml",), before=layout) == []


def test_a_changed_playbook_runs_its_job_in_spite_of_its_files():
    app = "- job: {name: docs, run: d.yaml, files: ^docs/}\n- project: {check: {jobs: [docs]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": app})
    assert jobs(layout, files=("d.yaml",)) == ["docs"]
    off = app.replace("files: ^docs/", "files: ^docs/, match-on-config-updates: false")
    assert jobs(layout_of({"config": CONFIG, "org/app": off}), files=("d.yaml",)) == ["docs"] * 0


def test_a_broken_file_in_a_future_takes_only_its_own_branch_away():
    layout = layout_of({"config": CONFIG, "org/app": APP, "org/other": "- project: {check: {jobs: [shared]}}\n"})
    future = replaced(layout, "org/app", "- job: [\n")
    assert jobs(future, "org/other") == ["shared"]
    (error, *_) = future.new_errors(layout, {(f"{HOST}/org/app", "master")})
    assert error.path == "zuul.yaml"
    assert error.line == 2 or error.line == 1


def test_what_a_change_does_not_touch_is_shared_with_the_layout_below():
    layout = layout_of({"config": CONFIG, "org/app": APP})
    future = replaced(layout, "org/app", APP.replace("level: 1", "level: 2"))
    assert future.kept("job", "shared") is layout.kept("job", "shared")
    assert future.pipelines is layout.pipelines


JOB_LINES = st.lists(
    st.sampled_from(
        [
            "- job: {name: a, vars: {x: 1}}",
            "- job: {name: a, run: a.yaml, timeout: 5}",
            "- job: {name: b, parent: a, nodeset: n}",
            "- job: {name: c, parent: missing}",
            "- nodeset: {name: n, nodes: [{name: one, label: small}]}",
            "- secret: {name: s, data: {k: v}}",
            "- queue: {name: q}",
            "- project-template: {name: t, check: {jobs: [a]}}",
            "- project: {templates: [t], check: {jobs: [b, shared]}}",
            "- project: {queue: q, check: {jobs: [a: {voting: false}]}}",
            "- job: {name: shared, vars: {stolen: true}}",
            "- pipeline: {name: mine, manager: independent}",
            "- job: {unknown: key}",
        ]
    ),
    max_size=6,
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(JOB_LINES, JOB_LINES, JOB_LINES)
def test_an_overlay_says_the_same_as_loading_everything_again(first, second, other):
    trees = {"config": CONFIG, "org/app": "\n".join(first) + "\n", "org/lib": "\n".join(other) + "\n"}
    layout = layout_of(trees)
    future = replaced(layout, "org/app", "\n".join(second) + "\n")
    fresh = layout_of({**trees, "org/app": "\n".join(second) + "\n"})
    assert sorted(e.identity for e in future.errors) == sorted(e.identity for e in fresh.errors)
    for project in ("org/app", "org/lib"):
        one, two = graph(future, project), graph(fresh, project)
        assert one.jobs == two.jobs
        assert (one.error is None) == (two.error is None)


def test_errors_are_new_or_old_against_an_item_ahead_too():
    layout = layout_of({"config": CONFIG, "org/app": APP, "org/lib": ""})
    ahead = replaced(layout, "org/lib", "- project: {check: {jobs: [absent]}}\n")
    texts = {"org/app": APP.replace("level: 1", "level: 2"), "org/lib": "- project: {check: {jobs: [absent]}}\n"}
    units = {
        (f"{HOST}/{name}", "master"): read_branch(layout.spec(f"{HOST}/{name}"), "master", files_of(text))
        for name, text in texts.items()
    }
    behind = layout.overlay(units)
    assert len(behind.errors) == 1
    assert behind.new_errors(ahead, {(f"{HOST}/org/app", "master")}) == ()


def test_configuration_of_a_branch_that_is_not_included_has_no_effect():
    tenant = tenant_of(untrusted=[{"org/app": {"exclude-branches": "wip"}}])
    layout = layout_of({"config": CONFIG, "org/app": APP}, tenant)
    future = replaced(layout, "org/app", "- job: {name: extra}\n", branch="wip")
    assert "extra" not in future.jobs


def test_an_always_dynamic_branch_counts_in_its_own_future_only():
    tenant = tenant_of(untrusted=[{"org/app": {"always-dynamic-branches": "feature/.*"}}])
    layout = layout_of({"config": CONFIG, "org/app": APP}, tenant)
    text = "- job: {name: extra, run: x}\n- project: {check: {jobs: [extra]}}\n"
    future = replaced(layout, "org/app", text, branch="feature/a")
    assert jobs(future, branch="feature/a") == ["extra"]
    assert jobs(future) == ["unit", "shared"]
    assert jobs(layout, branch="feature/a") == []
