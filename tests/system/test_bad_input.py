"""What people get wrong: told where it is, and nobody else is held up."""

from __future__ import annotations

import pytest

from tests.system.world import Installation

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("world"), pytest.mark.timeout(900)]

BROKEN = """\
- job:
    name: mine
    parent: base
  run: [
"""

UNKNOWN = """\
- job:
    name: mine
    parent: base
    nodset: one
    run: playbooks/mine.yaml

- project:
    check:
      jobs: [mine]
"""


@pytest.mark.parametrize(
    ("text", "line", "words"), [(BROKEN, 4, ""), (UNKNOWN, 4, "nodeset")], ids=["broken-yaml", "unknown-key"]
)
def test_a_bad_file_is_commented_on_its_line_and_others_go_on(
    world: Installation, text: str, line: int, words: str
) -> None:
    bad = world.push("demo/lib", {".zuul.yaml": text})
    good = world.push("demo/lib")
    world.wait_vote(bad, -1)
    world.wait_vote(good, 1)
    comments = world.comments(bad)
    assert list(comments) == [".zuul.yaml"]
    assert abs(comments[".zuul.yaml"][0]["line"] - line) <= 1, comments
    assert words in comments[".zuul.yaml"][0]["message"]
    assert len(world.reports(bad, "check")) == 1, world.said(bad)
    assert world.builds(bad) == []


def test_a_config_project_broken_on_its_tip_leaves_the_last_good_layout_in_force(world: Installation) -> None:
    world.put("project-config", {"zuul.d/broken.yaml": "- job:\n    name: late\n    parent: base\n    tiemout: 5\n"})
    try:
        errors = world.until("the error is shown", lambda: world.rest("config-errors"))
        assert "broken.yaml" in errors[0]["source_context"]["path"]
        assert "timeout" in errors[0]["error"]
        assert "broken.yaml" in world.get("t/small/status")
        assert "broken.yaml" in world.get("t/small/config-errors")
        number = world.push("demo/lib")
        world.wait_vote(number, 1)
        assert "late" not in {job["name"] for job in world.rest("jobs")}
    finally:
        world.put(
            "project-config", {"zuul.d/broken.yaml": "- job:\n    name: late\n    parent: base\n    timeout: 5\n"}
        )
    world.until("the error has gone", lambda: world.rest("config-errors") == [])
    world.until("the job is there", lambda: "late" in {job["name"] for job in world.rest("jobs")})


def test_a_full_disk_is_the_builds_result_and_the_executor_goes_on(world: Installation) -> None:
    number = world.push("demo/lib", {"fill/it": "now"})
    world.wait_vote(number, -1)
    assert {b["job_name"]: b["result"] for b in world.builds(number)} == {"local": "SUCCESS", "fill": "DISK_FULL"}
    assert "DISK_FULL" in world.reports(number, "check")[0]
    other = world.push("demo/lib")
    world.wait_vote(other, 1)
