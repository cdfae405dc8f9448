"""Reading hostile or broken text: bounded, located, never a stack trace."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.config import SourceContext, parse_blob
from trunkline.config.syntax import KEY, locate

CONTEXT = SourceContext("gerrit", "org/app", "master", "zuul.yaml", False)
GOOD = """\
- pragma: {implied-branches: [stable]}
- job:
    name: unit
    parent: base
    run: [a.yaml, {name: b.yaml, semaphores: s}]
    vars: {a: [1, 2, {b: c}]}
    nodeset: {nodes: [{name: n, label: l}]}
    files: [^src/, {regex: x, negate: true}]
- project:
    templates: [one]
    check:
      jobs:
        - unit: {voting: false}
- secret: {name: s, data: {k: !encrypted/pkcs1-oaep [YWJj]}}
"""


def errors(text: str | bytes):  # type: ignore[no-untyped-def]
    return parse_blob(text, CONTEXT).errors


def test_an_expansion_of_aliases_is_refused_quickly():
    lines = ["- job: {name: a, vars: {x0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f", x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    start = time.monotonic()
    (error,) = errors("".join(lines) + "}}\n")
    assert "expand" in error.short
    assert time.monotonic() - start < 5


def test_an_anchor_that_contains_itself_is_refused():
    (error,) = errors("- job: {name: a, vars: &v {x: *v}}\n")
    assert "contains itself" in error.short


def test_deep_nesting_is_refused():
    (error,) = errors("- job: {name: a, vars: {x: " + "[" * 400 + "]" * 400 + "}}\n")
    assert "deep" in error.short


def test_a_huge_file_is_refused():
    (error,) = errors("#" * (17 * 1024 * 1024))
    assert "larger" in error.short


def test_bytes_that_are_no_text_are_refused():
    (error,) = errors(b"- job: {name: \xff}\n")
    assert "UTF-8" in error.short


def test_merge_keys_and_anchors_are_understood():
    text = "- job: {name: a, vars: &v {x: 1, y: 1}}\n- job: {name: b, vars: {<<: *v, y: 2}}\n"
    fragment = parse_blob(text, CONTEXT)
    assert fragment.errors == ()
    assert fragment.definitions[1].attrs["vars"] == {"x": 1, "y": 2}


def test_dates_stay_text():
    fragment = parse_blob("- job: {name: a, vars: {d: 2024-01-01}}\n", CONTEXT)
    assert fragment.definitions[0].attrs["vars"] == {"d": "2024-01-01"}


def test_an_empty_override_is_legal():
    fragment = parse_blob("- job:\n    name: a\n    tags: !override\n", CONTEXT)
    assert fragment.errors == ()
    assert fragment.definitions[0].attrs["tags"] == ()


def test_places_are_found_again_from_paths():
    assert locate(GOOD, (1, "job", "vars", "a", 2, "b")).line == 6
    assert locate(GOOD, (1, "job", "run", KEY)).line == 5
    assert locate(GOOD, (2, "project", "check", "jobs", 0, "unit", "voting")).line == 13


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_no_text_makes_reading_fail(text):
    for error in errors(text):
        assert error.short


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutation_of_a_good_file_makes_reading_fail(data):
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 8))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["", "- ", ": ", "[", "}", "&x ", "*x", "!override ", "\t", "null", "'"]))
            + text[at + cut :]
        )
    for error in errors(text):
        assert error.message


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        ["job", "project", "nodeset", "secret", "pipeline", "queue", "semaphore", "label", "provider", "pragma"]
    ),
    st.sampled_from(
        ["name", "vars", "run", "nodes", "alternatives", "check", "trigger", "data", "files", "secrets", "branches"]
    ),
    JSONISH,
)
def test_wrong_types_anywhere_are_errors_and_nothing_worse(kind, key, value):
    import json

    for error in errors(json.dumps([{kind: {"name": "x", key: value}}])):
        assert error.line >= 1
