"""How a later variant's attributes combine with what stands, one rule a test."""

import pytest

from tests.config.world import BASE, HOST, PIPELINES, graph, job, jobs, layout_of, refusal, tenant_of
from trunkline.config import RefKind, Subject

CONFIG = PIPELINES + BASE


def child_of(parent: str, child: str, extra: str = "", pipeline: str = "check"):  # type: ignore[no-untyped-def]
    """The frozen job `child` with these attributes over a parent with those, all in the config project."""
    text = f"""
- job: {{name: top, parent: base, run: top.yaml, {parent}}}
- job: {{name: child, parent: top, {child}}}
- project: {{name: org/app, {pipeline}: {{jobs: [child]}}}}
{extra}"""
    return layout_of({"config": CONFIG + text, "org/app": ""})


@pytest.mark.parametrize(
    ("parent", "child", "attribute", "expected"),
    [
        ("timeout: 5", "timeout: 7", "timeout", 7),
        ("timeout: 5", "voting: true", "timeout", 5),
        ("timeout: 9, pre-timeout: 8", "timeout: 6", "pre_timeout", 6),
        ("attempts: 1", "", "attempts", 1),
        ("voting: false", "voting: true", "voting", True),
        ("tags: [b, a]", "tags: c", "tags", ("a", "b", "c")),
        ("tags: [b, a]", "tags: !override c", "tags", ("c",)),
        ("provides: a", "provides: b", "provides", ("a", "b")),
        ("requires: a", "requires: b", "requires", ("a", "b")),
        ("failure-output: b", "failure-output: a", "failure_output", ("a", "b")),
        ("vars: {m: {a: 1, l: [1]}}", "vars: {m: {b: 2, l: [2]}}", "vars", {"m": {"a": 1, "b": 2, "l": [2]}}),
        ("vars: {m: {a: 1}}", "vars: !override {n: 2}", "vars", {"n": 2}),
        ("vars: {m: {a: 1}}", "vars: {m: !override {b: 2}}", "vars", {"m": {"b": 2}}),
        ("extra-vars: {a: 1}", "extra-vars: {b: 2}", "extra_vars", {"a": 1, "b": 2}),
        ("host-vars: {h: {a: 1}}", "host-vars: {h: {b: 2}}", "host_vars", {"h": {"a": 1, "b": 2}}),
        ("group-vars: {g: {a: 1}}", "group-vars: {g: {a: 2}}", "group_vars", {"g": {"a": 2}}),
        ("override-checkout: x", "override-checkout: y", "override_checkout", "y"),
        ("hold-following-changes: true", "", "hold_following_changes", True),
        ("success-message: a", "success-message: b", "success_message", "b"),
        ("failure-message: a", "", "failure_message", "a"),
        ("workspace-scheme: flat", "", "workspace_scheme", "flat"),
        ("workspace-checkout: auto", "", "workspace_checkout", True),
        ("deduplicate: false", "deduplicate: true", "deduplicate", True),
        ("secret-exposure: redact", "", "secret_exposure", "redact"),
        ("ansible-version: 9", "", "ansible_version", "9"),
        ("ansible-split-streams: true", "", "ansible_split_streams", True),
        ("post-timeout: 3", "post-timeout: 4", "post_timeout", 4),
        ("allowed-projects: [org/app, config]", "allowed-projects: org/app", "allowed_projects", ("org/app",)),
    ],
)
def test_attributes_combine(parent, child, attribute, expected):
    found = job(child_of(parent, child), "child")
    if attribute != "allowed_projects":
        assert getattr(found, attribute) == expected
    else:
        assert found.allowed_projects is None, "an entry of a config project lifts it"


def paths(playbooks):  # type: ignore[no-untyped-def]
    return [(p.path, p.nesting_level) for p in playbooks]


def test_playbooks_nest_around_those_of_the_child():
    found = job(
        child_of(
            "pre-run: [p1, p2], post-run: [q1, q2], cleanup-run: [c1]",
            "pre-run: p3, post-run: [q3, {name: q4, cleanup: true}], cleanup-run: c2, run: [r1, r2]",
        ),
        "child",
    )
    assert paths(found.pre_playbooks) == [("p1", 1), ("p2", 1), ("p3", 2)]
    assert paths(found.playbooks) == [("r1", 2), ("r2", 2)]
    assert paths(found.post_playbooks) == [("q3", 2), ("q4", 2), ("c2", 2), ("q1", 1), ("q2", 1), ("c1", 1)]
    assert [p.path for p in found.post_playbooks if p.cleanup] == ["q4", "c2", "c1"]
    assert [p.path for p in found.post_playbooks if p.ignore_result] == ["c2", "c1"]


def test_the_nearest_run_playbook_counts():
    assert paths(job(child_of("", "vars: {a: 1}"), "child").playbooks) == [("top.yaml", 1)]


def test_dependencies_are_replaced_or_with_inherit_united():
    extra = "- job: {name: one, run: a}\n- job: {name: two, run: a}\n"
    listed = "- project: {name: org/app, check: {jobs: [one, two]}}\n"
    replaced = job(child_of("dependencies: one", "dependencies: two", extra + listed), "child")
    united = job(child_of("dependencies: one", "dependencies: !inherit two", extra + listed), "child")
    assert [d.name for d in replaced.dependencies] == ["two"]
    assert [d.name for d in united.dependencies] == ["one", "two"]


def test_required_projects_merge_by_project():
    layout = child_of(
        "required-projects: [{name: org/app, override-checkout: a}, config]",
        "required-projects: [{name: org/app, override-checkout: b}]",
    )
    found = {p.name: p.override_checkout for p in job(layout, "child").required_projects}
    assert found == {"org/app": "b", "config": None}


def test_semaphores_are_a_sorted_union():
    found = job(child_of("semaphores: b", "semaphores: [{name: a, resources-first: true}]"), "child")
    assert [(s.name, s.resources_first) for s in found.semaphores] == [("a", True), ("b", False)]


def test_a_semaphore_of_job_and_playbook_is_refused():
    assert "semaphore" in refusal(child_of("semaphores: a", "pre-run: {name: p, semaphores: a}"))


def test_final_forbids_what_changes_the_run():
    assert "final" in refusal(child_of("final: true", "vars: {a: 1}"))


def test_a_project_may_make_a_final_job_non_voting():
    text = "- job: {name: top, run: t.yaml, final: true}\n- project: {name: org/app, check: {jobs: [top: {voting: false}]}}\n"
    assert job(layout_of({"config": CONFIG + text, "org/app": ""}), "top").voting is False
    changed = text.replace("voting: false", "timeout: 3")
    assert "final" in refusal(layout_of({"config": CONFIG + changed, "org/app": ""}))


def test_attribute_control_makes_one_attribute_final():
    assert "tags" in refusal(child_of("attribute-control: {tags: {final: true}}, tags: a", "tags: b"))


def test_a_protected_job_is_for_its_own_project():
    config = CONFIG + "- job: {name: top, run: t.yaml, protected: true}\n- job: {name: own, parent: top}\n"
    app = "- job: {name: theirs, parent: top}\n- project: {check: {jobs: [own, theirs]}}\n"
    layout = layout_of({"config": config, "org/app": app})
    assert "protected" in refusal(layout)
    assert "protected" in layout.errors[0].short


def test_an_intermediate_job_is_for_abstract_children():
    layout = child_of("abstract: true, intermediate: true", "vars: {a: 1}")
    assert "intermediate" in refusal(layout)


def test_inheriting_clears_abstract():
    assert jobs(child_of("abstract: true", "vars: {a: 1}")) == ["child"]


def test_exposure_of_secrets_cannot_be_changed():
    assert "secret-exposure" in refusal(child_of("secret-exposure: fail", "secret-exposure: ignore"))


SECRET = "- secret: {name: s, data: {k: v}}\n"


def test_a_secret_in_an_untrusted_project_makes_the_job_post_review():
    app = (
        SECRET
        + "- job: {name: deploy, run: d.yaml, secrets: s}\n- project: {check: {jobs: [deploy]}, gate: {jobs: [deploy]}}\n"
    )
    layout = layout_of({"config": CONFIG, "org/app": app})
    assert "post-review" in refusal(layout)
    found = graph(layout, pipeline="gate").job("deploy")
    assert found.allowed_projects == ("org/app",)
    assert [(s.alias, s.data) for s in found.playbooks[0].secrets] == [("s", {"k": "v"})]


def test_secrets_are_not_inherited():
    layout = child_of("secrets: s", "run: r.yaml, pre-run: p.yaml", SECRET)
    found = job(layout, "child")
    assert found.playbooks[0].secrets == ()


def test_pass_to_parent_gives_the_secret_to_what_stands():
    layout = child_of("pre-run: p.yaml", "secrets: [{name: alias, secret: s, pass-to-parent: true}]", SECRET)
    found = job(layout, "child")
    assert [s.alias for s in found.pre_playbooks[0].secrets] == ["alias"]
    assert [s.alias for s in found.playbooks[0].secrets] == ["alias"]
    assert found.post_review is None


def test_encrypted_leaves_stay_encrypted():
    secret = "- secret: {name: s, data: {k: !encrypted/pkcs1-oaep [YWJj, ZGVm]}}\n"
    found = job(child_of("", "secrets: s, run: r.yaml", secret), "child")
    assert found.playbooks[0].secrets[0].data == {"k": {"!encrypted/pkcs1-oaep": ["YWJj", "ZGVm"]}}


def test_roles_reach_the_playbooks_of_their_definition_only():
    text = """
- job: {name: top, parent: base, run: top.yaml, pre-run: p.yaml}
- job: {name: child, parent: top, post-run: q.yaml, roles: [{zuul: org/ansible-role-x}, {zuul: org/absent}]}
- project: {name: org/app, check: {jobs: [child]}}
"""
    found = job(layout_of({"config": CONFIG + text, "org/app": "", "org/ansible-role-x": ""}), "child")
    assert [r.project for r in found.pre_playbooks[0].roles] == ["config"]
    assert [(r.project, r.target_name, r.implicit) for r in found.post_playbooks[0].roles] == [
        ("org/ansible-role-x", "x", False),
        ("config", "config", True),
    ] or [(r.project, r.target_name) for r in found.post_playbooks[0].roles] == [
        ("org/ansible-role-x", "x"),
        ("config", "config"),
    ]


def test_alternatives_of_nodesets_flatten_in_written_order():
    extra = """
- nodeset: {name: a, nodes: [{name: n, label: la}]}
- nodeset: {name: b, alternatives: [a, {nodes: [{name: n, label: lb}]}]}
"""
    found = job(child_of("", "nodeset: {alternatives: [b, {nodes: [{name: [n, m], label: lc}]}]}", extra), "child")
    assert [n.nodes[0].label for n in found.nodeset_alternatives] == ["la", "lb", "lc"]
    assert found.nodeset_alternatives[2].nodes[0].aliases == ("m",)


def test_alternatives_that_go_round_are_refused():
    extra = "- nodeset: {name: a, alternatives: [b]}\n- nodeset: {name: b, alternatives: [a]}\n"
    assert "circle" in refusal(child_of("", "nodeset: a", extra))


def test_a_circle_of_parents_is_refused():
    text = "- job: {name: a, parent: b, run: x}\n- job: {name: b, parent: a, run: x}\n- project: {name: org/app, check: {jobs: [a]}}\n"
    assert "inherits from itself" in refusal(layout_of({"config": CONFIG + text, "org/app": ""}))


def test_a_circle_of_dependencies_is_refused():
    text = "- job: {name: a, run: x, dependencies: b}\n- job: {name: b, run: x, dependencies: a}\n- project: {name: org/app, check: {jobs: [a, b]}}\n"
    assert "circle" in refusal(layout_of({"config": CONFIG + text, "org/app": ""}))


def test_a_job_without_playbook_is_refused():
    text = "- job: {name: nothing, parent: null}\n- project: {name: org/app, check: {jobs: [nothing]}}\n"
    assert "no run playbook" in refusal(layout_of({"config": CONFIG + text, "org/app": ""}))


def test_noop_runs_anywhere():
    assert jobs(layout_of({"config": CONFIG, "org/app": "- project: {check: {jobs: [noop]}}\n"})) == ["noop"]


def test_a_shadowed_definition_is_ignored_without_an_error():
    tenant = tenant_of(untrusted=[{"stdlib": {"shadow": "config"}}, "org/app"])
    trees = {
        "config": CONFIG,
        "stdlib": "- job: {name: base, timeout: 3}\n- job: {name: extra}\n",
        "org/app": "- project: {check: {jobs: [extra]}}\n",
    }
    layout = layout_of(trees, tenant)
    assert layout.errors == ()
    assert job(layout, "extra").timeout is None


def test_a_stanza_of_an_untrusted_project_speaks_for_its_own_branch():
    text = "- project: {check: {jobs: [noop]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": {"master": text, "stable": ""}})
    assert jobs(layout) == ["noop"]
    assert jobs(layout, branch="stable") == []


def test_a_pragma_replaces_the_implied_branch():
    text = "- pragma: {implied-branch-matchers: true, implied-branches: [stable/.*]}\n- job: {name: a, run: x}\n"
    config = CONFIG + "- project: {name: org/app, check: {jobs: [a]}}\n"
    layout = layout_of({"config": config, "org/app": text})
    assert jobs(layout, branch="stable/1") == ["a"]
    assert jobs(layout, branch="master") == []


def test_a_tag_matches_the_branches_that_contain_it():
    text = "- job: {name: a, run: x, branches: ^refs/tags/v}\n- job: {name: b, run: x, branches: stable}\n"
    layout = layout_of({"config": CONFIG + text + "- project: {name: org/app, check: {jobs: [a, b]}}\n", "org/app": ""})

    def names(ref: str, contained: tuple[str, ...]) -> list[str]:
        subject = Subject(f"{HOST}/org/app", RefKind.TAG, None, ref, None, contained)
        return [j.name for j in layout.freeze("check", (subject,)).jobs]

    assert names("refs/tags/v1", ("stable",)) == ["a", "b"]
    assert names("refs/tags/1", ("stable",)) == ["b"]
    assert names("refs/tags/1", ()) == []


def test_equal_jobs_of_a_cycle_run_once():
    text = "- job: {name: a, run: x, required-projects: [org/app, org/lib]}\n- job: {name: b, run: x}\n"
    listed = "- project: {name: ^org/, check: {jobs: [a, b]}}\n- project: {name: ^org/.*, check: {jobs: [a, b]}}\n"
    layout = layout_of({"config": CONFIG + text + listed, "org/app": "", "org/lib": ""})
    subjects = tuple(
        Subject(f"{HOST}/{p}", RefKind.CHANGE, "master", key=p, triggering=p == "org/lib")
        for p in ("org/app", "org/lib")
    )
    found = layout.freeze("check", subjects)
    assert [(j.name, j.refs) for j in found.jobs] == [
        ("a", ("org/app", "org/lib")),
        ("b", ("org/app",)),
        ("b", ("org/lib",)),
    ]


def test_debug_says_why_a_job_is_left_out():
    text = "- job: {name: a, run: x, branches: stable}\n- project: {name: org/app, check: {debug: true, jobs: [a]}}\n"
    found = graph(layout_of({"config": CONFIG + text, "org/app": ""}))
    assert found.wants_debug
    assert any("does not match (stable)" in note for note in found.debug)


def test_queue_merge_mode_and_default_branch_come_from_the_first_stanza_that_says_so():
    text = """
- queue: {name: shared, allow-circular-dependencies: true}
- project: {name: ^org/.*$, queue: other, merge-mode: rebase, default-branch: devel}
- project: {name: org/app, queue: shared, merge-mode: cherry-pick}
"""
    layout = layout_of({"config": CONFIG + text, "org/app": ""})
    facts = layout.project(f"{HOST}/org/app")
    assert (facts.queue_name, facts.merge_mode, facts.default_branch) == ("shared", "cherry-pick", "devel")
    assert layout.queue_of(f"{HOST}/org/app", "master") == "shared"
    assert layout.queues["shared"].allow_circular_dependencies


def test_a_very_long_line_of_parents_is_refused_and_not_followed_for_ever():
    line = "".join(f"- job: {{name: j{n}, parent: j{n + 1}, run: x}}\n" for n in range(2000))
    text = line + "- job: {name: j2000, run: x}\n- project: {name: org/app, check: {jobs: [j0]}}\n"
    assert "levels" in refusal(layout_of({"config": CONFIG + text, "org/app": ""}))


def test_very_many_variants_of_a_job_are_all_applied():
    text = "".join(f"- job: {{name: many, run: x, vars: {{v{n}: {n}}}}}\n" for n in range(1500))
    layout = layout_of({"config": CONFIG + text + "- project: {name: org/app, check: {jobs: [many]}}\n", "org/app": ""})
    assert len(job(layout, "many").vars) == 1500
