"""The console held against the recorded one, playbook by playbook, and its writer."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.executor.scene import Executor
from tests.shared import SHARED, needs_shared
from trunkline.executor.console import Console, append_document, document_without_tasks, redacted_document

RECORDED = (SHARED or Path("/nonexistent")) / "reference/executor-recordings"


def comparable(line: str) -> str:
    """Without what differs from run to run: durations, times, ids, places, long texts."""
    line = re.sub(r"0:00:\d\d\.\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "TIME", line)
    line = re.sub(r"/\S+?/untrusted/project_0/review.example.com/(demo/)?app/playbooks/(con/)?", "PLAYBOOKS/", line)
    line = re.sub(r"^\{'.*", "{facts}", line)
    return re.sub(r"y{100}.*", "yyy", line)


def playbook_part(lines: list[str]) -> list[str]:
    """What stands between the banners of the first run playbook."""
    first = next(number for number, line in enumerate(lines) if line.startswith("RUN START"))
    last = next(number for number, line in enumerate(lines) if line.startswith("RUN END"))
    return [comparable(line) for line in lines[first + 1 : last]]


@needs_shared
def test_a_local_playbook_gives_the_recorded_console(executor: Executor, tmp_path: Path) -> None:
    recorded = (RECORDED / "console/con-local/job-output.txt").read_text().split("\n")
    theirs = playbook_part([line.partition(" | ")[2] for line in recorded])
    doubled = ("localhost | a", "localhost | b")  # loops on localhost are printed once here
    theirs = [line for number, line in enumerate(theirs) if line not in doubled or theirs[number - 1] != line]
    s = executor.scene(tmp_path)
    playbook = s.playbook("local", (RECORDED / "config/demo-app/playbooks/con/local.yaml").read_text(), trusted=False)
    outcome = executor.go(s.run(s.request(run=(playbook,))))
    assert outcome.result == "SUCCESS"
    assert playbook_part(s.console.split("\n")) == theirs


@needs_shared
def test_a_local_playbook_gives_the_recorded_document(executor: Executor, tmp_path: Path) -> None:
    recorded = json.loads((RECORDED / "console/con-local/job-output.json").read_text())
    theirs = next(entry for entry in recorded if entry["phase"] == "run")
    s = executor.scene(tmp_path)
    playbook = s.playbook("local", (RECORDED / "config/demo-app/playbooks/con/local.yaml").read_text(), trusted=False)
    executor.go(s.run(s.request(run=(playbook,))))
    ours = s.document[0]
    assert set(ours) == set(theirs)
    assert (ours["phase"], ours["index"], ours["trusted"], ours["stats"]) == ("run", "0", False, theirs["stats"])
    for mine, other in zip(ours["plays"][0]["tasks"], theirs["plays"][0]["tasks"], strict=True):
        assert mine["task"]["name"] == other["task"]["name"]
        assert set(mine["task"]) == set(other["task"])
        assert set(mine["task"]["duration"]) == {"start", "end"}
        assert mine["hosts"]["localhost"]["action"] == other["hosts"]["localhost"]["action"]
        for key in ("rc", "stdout", "stdout_lines", "stderr", "changed", "failed"):
            expected = other["hosts"]["localhost"].get(key)
            if "trimmed" not in str(expected):
                assert mine["hosts"]["localhost"].get(key) == expected, (mine["task"], key)


def test_documents_stay_valid_json_as_they_grow(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    for number in range(3):
        append_document(directory, "x.json", document_without_tasks({"index": str(number)}, "play"))
        assert [entry["index"] for entry in json.loads((tmp_path / "x.json").read_text())] == [
            str(known) for known in range(number + 1)
        ]
    (tmp_path / "link.json").symlink_to(tmp_path / "x.json")
    with pytest.raises(OSError):
        append_document(directory, "link.json", "{}")
    os.close(directory)


def test_a_line_with_a_secret_is_replaced(tmp_path: Path) -> None:
    console = Console(tmp_path / "x")
    seen: list[str] = []
    console.secrets = ("hunter2",)
    console.on_exposure = lambda: seen.append("exposed")
    console.lines(["fine", "my hunter2 is here"], "localhost")
    console.close()
    first, second, _end = (tmp_path / "x").read_text().split("\n")
    assert first.endswith(" | localhost | fine")
    assert second == "[Zuul] Secret detected in output"
    assert seen == ["exposed"]
    assert "hunter2" not in redacted_document('{"plays": ["hunter2"]}', console.secrets, {})


def test_lines_of_a_node_keep_its_time(tmp_path: Path) -> None:
    console = Console(tmp_path / "x")
    console.stamped("2026-11-24 16:23:59.230785 | one line", "compute1")
    console.stamped("2026-11-24 16:23:59.230786 | ", "compute1")
    console.line("")
    text = (tmp_path / "x").read_text().split("\n")
    assert text[0] == "2026-11-24 16:23:59.230785 | compute1 | one line"
    assert text[1] == "2026-11-24 16:23:59.230786 | compute1 |"
    assert text[2].endswith(" | ")
