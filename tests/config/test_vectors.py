"""The vectors that the specification records for variants, overrides, variables, and files."""

import pytest

from tests.config.world import PIPELINES, graph, jobs, layout_of, refusal

VARIANTS = (
    PIPELINES
    + """
- job: {name: base, parent: null, run: b.yaml, vars: {who: base, m: {a: 1}}}
- job: {name: onlystable, parent: base, branches: stable, vars: {s: 1}}
- job: {name: child-of-stable, parent: onlystable}
- job: {name: two, parent: base, vars: {v: 1}}
- job: {name: two, branches: ^master$, parent: extra, vars: {v: 2}}
- job: {name: extra, parent: base, vars: {extra_parent: 1}}
- job: {name: noparent, vars: {n: 1}}
- job: {name: init, type: initializer, run: i.yaml}
- job: {name: dep, run: x.yaml, dependencies: [{name: absent-soft, soft: true}]}
- job: {name: absent-soft, branches: stable, run: x.yaml}
- project-template: {name: tmpl, vars: {from: template, t: 1}, check: {jobs: [noparent]}}
- project-template: {name: tmpl2, vars: {t2: 1}, other: {jobs: [noparent]}}
- project:
    name: org/project1
    templates: [tmpl, tmpl2]
    vars: {from: project, p: 1, m: {b: 2}, v: 9}
    check:
      jobs: [two, child-of-stable, onlystable, libjob,
             libjob-stable: {required-projects: [{name: org/lib, override-checkout: stable}]},
             libjob-jobstable: {override-checkout: stable}, init, dep]
- project: {name: ^org/.*$, vars: {rx: 1}, check: {jobs: [two: {vars: {v: 7}}]}}
- project: {name: org/lib}
"""
)


def _variants():  # type: ignore[no-untyped-def]
    def library(branch: str) -> str:
        return "".join(
            f"- job: {{name: {name}, vars: {{b: {branch}}}}}\n"
            for name in ("libjob", "libjob-stable", "libjob-jobstable")
        )

    lib = {branch: library(branch) for branch in ("master", "stable")}
    return layout_of({"config": VARIANTS, "org/project1": "", "org/lib": lib})


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("master", ["noparent", "two", "libjob", "libjob-stable", "libjob-jobstable", "init", "dep"]),
        (
            "stable",
            [
                "noparent",
                "two",
                "child-of-stable",
                "onlystable",
                "libjob",
                "libjob-stable",
                "libjob-jobstable",
                "init",
                "dep",
            ],
        ),
        ("feature", ["noparent", "two", "libjob-stable", "libjob-jobstable", "init", "dep"]),
    ],
)
def test_jobs_run_where_a_definition_and_all_its_parents_match(branch, expected):
    assert jobs(_variants(), "org/project1", branch=branch) == expected


def test_variables_rank_template_stanza_job():
    found = graph(_variants(), "org/project1").job("noparent")
    assert found.vars == {
        "t": 1, "from": "project", "p": 1, "v": 9, "rx": 1, "who": "base", "m": {"b": 2, "a": 1}, "n": 1,
    }  # fmt: skip


def test_a_branch_variant_brings_its_own_parent():
    layout = _variants()
    master, stable = (graph(layout, "org/project1", branch=b).job("two") for b in ("master", "stable"))
    assert master.vars["extra_parent"] == 1
    assert master.vars["v"] == stable.vars["v"] == 7
    assert "extra_parent" not in stable.vars
    assert [a.name for a in master.applied] == ["base", "two", "extra", "two", "two", "two"]
    assert len(stable.applied) == 4


@pytest.mark.parametrize(("branch", "seen"), [("master", "master"), ("stable", "stable")])
def test_an_implied_branch_chooses_the_variant_of_that_branch(branch, seen):
    layout = _variants()
    found = graph(layout, "org/project1", branch=branch)
    assert found.job("libjob").vars["b"] == seen
    assert found.job("libjob-stable").vars["b"] == found.job("libjob-jobstable").vars["b"] == "stable"


def test_every_regular_job_depends_softly_on_initializers():
    found = graph(_variants(), "org/project1")
    for job in found.jobs:
        names = {d.name for d in job.dependencies}
        assert names == (set() if job.name == "init" else {"init"})


FILES = (
    PIPELINES
    + """
- job: {name: base, parent: null, run: b.yaml}
- job: {name: docs, files: docs/}
- job: {name: notdocs, irrelevant-files: docs/}
- job: {name: both, files: [src/, docs/], irrelevant-files: docs/b}
- job: {name: needs-docs, dependencies: docs}
- job: {name: soft-docs, dependencies: [{name: docs, soft: true}]}
- job: {name: chain, files: never/, dependencies: docs}
- job: {name: abst, abstract: true, files: abs/}
- job: {name: neg, files: {regex: docs/, negate: true}}
- project: {name: p, check: {jobs: [docs, notdocs, both, soft-docs, chain, abst, neg]}}
- project: {name: q, check: {jobs: [docs, needs-docs, chain]}}
- project: {name: r, check: {jobs: [needs-docs]}}
"""
)


def _files():  # type: ignore[no-untyped-def]
    return layout_of({"config": FILES, "p": "", "q": "", "r": ""})


@pytest.mark.parametrize(
    ("project", "files", "expected"),
    [
        ("p", ("docs/a",), ["docs", "both", "soft-docs"]),
        ("p", ("src/x",), ["notdocs", "both", "soft-docs", "neg"]),
        ("p", ("docs/b",), ["docs", "soft-docs"]),
        ("p", ("docs/a", "src/x"), ["docs", "notdocs", "both", "soft-docs", "neg"]),
        ("q", ("src/x",), ["docs", "needs-docs"]),
    ],
)
def test_file_matchers_choose_the_jobs(project, files, expected):
    assert jobs(_files(), project, files=files) == expected


@pytest.mark.parametrize("files", [None, (), ("/COMMIT_MSG",), ("abs/x",)])
def test_an_abstract_job_refuses_the_item_only_when_it_would_run(files):
    assert "abstract" in refusal(_files(), "p", files=files)


def test_a_hard_dependency_outside_the_list_is_refused():
    assert "needs-docs" in refusal(_files(), "r", files=("src/x",))
    assert "docs" in refusal(_files(), "r", files=("src/x",))
