"""What people see when they make a mistake: where, what, and what to do."""

import pytest

from tests.config.world import BASE, PIPELINES, jobs, layout_of, only_error, tenant_of
from trunkline.config import Severity, SourceContext, parse_blob
from trunkline.config.sarif import sarif

CONFIG = PIPELINES + BASE
CONTEXT = SourceContext("gerrit", "org/app", "master", "zuul.yaml", False, "review.example.com/org/app")


def complaint(text: str):  # type: ignore[no-untyped-def]
    errors = parse_blob(text, CONTEXT).errors
    assert len(errors) == 1, [e.message for e in errors]
    return errors[0]


def test_an_unknown_key_points_at_the_key_and_names_the_nearest():
    error = complaint("- job:\n    name: unit\n    timout: 5\n")
    assert (error.line, error.column) == (3, 5)
    assert error.mend == 'Did you mean "timeout"?'
    assert error.snippet.splitlines()[-1] == "  |     ^^^^^^"
    assert "3 |     timout: 5" in error.snippet
    assert error.message.startswith("zuul.yaml:3:5 in org/app on branch master: ")


def test_every_fault_of_an_object_is_told_in_one_error():
    error = complaint("- job:\n    name: unit\n    timout: 5\n    voting: maybe\n")
    assert 'unknown key "timout"' in error.short
    assert "also line 4" in error.short
    assert "expected true or false" in error.short


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("- job:\n    name: [unit]\n", 2, "expected a string, found a list"),
        ("- job:\n    run: a.yaml\n", 2, '"name" is missing'),
        ("- job:\n  name: unit\n", 1, "must have one key, not 2"),
        ("- job\n", 1, "must be a map with one key"),
        ("job:\n  name: unit\n", 1, "must be a list of maps"),
        ("- jobb:\n    name: unit\n", 1, 'Unknown object "jobb"'),
        ("- job:\n    name: a\n    name: b\n", 3, "more than once"),
        ("- job:\n    name: a\n\tfoo: b\n", 3, "not valid YAML"),
        ("- job: {name: a, vars: {zuul: 1}}\n", 1, "reserved"),
        ("- job: {name: a, vars: {a-b: 1}}\n", 1, "not a name of a variable"),
        ("- job: {name: a, post-review: false}\n", 1, "not taken back"),
        ("- job: {name: a, files: '('}\n", 1, "Invalid regular expression"),
        ("- job: {name: a, ansible-version: 2.8}\n", 1, "not supported"),
        ("- job: {name: a, deduplicate: atuo}\n", 1, "expected one of true, false, auto"),
        ("- job: {name: a, intermediate: true}\n", 1, "must be abstract"),
        ("- nodeset: {name: a, nodes: [{name: localhost, label: x}]}\n", 1, "localhost"),
        ("- secret: {name: a}\n", 1, "needs data or oidc"),
        ("- queue: {name: a, dependencies-by-topic: true}\n", 1, "needs allow-circular-dependencies"),
        ("- job: {name: a, vars: {x: !secret y}}\n", 1, "Unknown tag"),
    ],
)
def test_mistakes_in_a_file_are_located(text, line, word):
    error = complaint(text)
    assert word in error.short
    assert error.line == line
    assert error.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("- nodeset: {name: a, nodes: [{name: n, label: x}, {name: n, label: x}]}\n", "Duplicate Node"),
        ("- nodeset: {name: a, nodes: [], groups: [{name: g, nodes: n}]}\n", "Node From Group Not Found"),
        (
            "- nodeset: {name: a, nodes: [{name: n, label: x}], groups: [{name: g, nodes: n}, {name: g, nodes: n}]}\n",
            "Duplicate Nodeset Group",
        ),
        ("- job: {name: a, timeout: 1, pre-timeout: 2}\n", "Pre-Timeout Exceeds Timeout"),
        ("- job: {name: a\n", "Unknown Configuration Error"),
    ],
)
def test_errors_of_a_file_have_the_names_of_the_specification(text, name):
    assert complaint(text).name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("- job: {name: a, timeout: 99999}\n", "Max Timeout Exceeded"),
        ("- job: {name: a, parent: null}\n", "Base Job Not Permitted"),
        ("- job: {name: a, nodeset: none}\n", "Nodeset Not Found"),
        ("- job: {name: a, required-projects: org/none}\n", "Project Not Found"),
        ("- pipeline: {name: p, manager: independent}\n", "Pipeline Forbidden"),
        ("- project: {name: config, check: {jobs: []}}\n", "Project Forbidden"),
        ("- project: {name: ^.*$, check: {jobs: []}}\n", "Project Forbidden"),
        ("- project: {templates: [none]}\n", "Template Not Found"),
        ("- project: {check: {jobs: [none]}}\n", "Unknown"),
        ("- job: {name: a, parent: none}\n", "Unknown"),
        ("- job: {name: base}\n", "Unknown"),
        ("- job: {name: a, secrets: none}\n", "Unknown"),
        ("- secret: {name: s, oidc: {ttl: 99999}}\n", "Max OIDC TTL Exceeded"),
        ("- secret: {name: s, oidc: {iss: other}}\n", "OIDC issuer not allowed"),
        ("- queue: {name: q}\n- queue: {name: q}\n", "Unknown"),
        ("- job: {name: a, branches: '(?!x)y'}\n", "Regex Deprecation"),
        ("- job: {name: a, cleanup-run: c.yaml}\n", "Cleanup Run Deprecation"),
    ],
)
def test_errors_of_a_tenant_have_the_names_of_the_specification(text, name):
    error = only_error(layout_of({"config": CONFIG, "org/app": text}))
    assert error.name == name
    assert error.context == "org/app/zuul.yaml@master"
    assert error.line >= 1


def test_a_name_that_is_not_defined_is_answered_with_the_nearest():
    layout = layout_of(
        {"config": CONFIG, "org/app": "- job: {name: unit-tests}\n- project: {check: {jobs: [unit-test]}}\n"}
    )
    assert only_error(layout).mend == 'Did you mean "unit-tests"?'


def test_an_error_takes_only_its_own_object_away():
    text = "- job: {name: good, run: a.yaml}\n- job: {nmae: bad}\n- project: {check: {jobs: [good]}}\n"
    layout = layout_of({"config": CONFIG, "org/app": text})
    assert only_error(layout).line == 2
    assert jobs(layout) == ["good"]


def test_a_clash_names_the_other_definition():
    layout = layout_of({"config": CONFIG, "org/app": "- job: {name: base}\n"})
    assert "config/zuul.yaml@master, line" in only_error(layout).mend


def test_forbidden_labels_are_refused():
    tenant = tenant_of(untrusted=["org/app"], **{"disallowed-labels": ["gpu-.*"]})
    text = "- job: {name: a, nodeset: {nodes: [{name: n, label: gpu-1}]}}\n"
    assert only_error(layout_of({"config": CONFIG, "org/app": text}, tenant)).name == "Label Forbidden"


def test_labels_must_be_defined_where_there_is_no_other_source_of_them():
    tenant = tenant_of(untrusted=["org/app"], **{"use-nodepool": False})
    text = "- job: {name: a, nodeset: {nodes: [{name: n, label: small}]}}\n"
    assert only_error(layout_of({"config": CONFIG, "org/app": text}, tenant)).name == "Label Not Found"


def test_a_second_place_of_configuration_is_a_warning():
    trees = {
        "config": CONFIG,
        "org/app": {"master": {"zuul.yaml": "- job: {name: a}\n", ".zuul.yaml": "- job: {name: b}\n"}},
    }
    layout = layout_of(trees)
    error = only_error(layout)
    assert error.name == "Multiple Project Configurations"
    assert error.severity is Severity.WARNING
    assert error.path == ".zuul.yaml"
    assert "b" not in layout.jobs


def test_an_unknown_connection_refuses_the_pipeline():
    layout = layout_of({"config": PIPELINES.replace("success: {gerrit", "success: {gerit") + BASE})
    assert {e.name for e in layout.errors} == {"Unknown Connection"}
    assert layout.errors[0].mend == 'Did you mean "gerrit"?'


def test_an_unknown_event_of_a_trigger_is_located():
    layout = layout_of({"config": PIPELINES.replace("patchset-created", "patchset-create") + BASE})
    error = only_error(layout)
    assert error.mend == 'Did you mean "patchset-created"?'
    assert "{event: patchset-create}" in error.snippet


def test_errors_come_as_sarif():
    log = sarif(parse_blob("- job: {nam: a}\n", CONTEXT).errors)
    (result,) = log["runs"][0]["results"]
    assert result["level"] == "error"
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1
