"""The config command, as people and the comparison call it."""

import io
import json
import sys

import msgspec
import pytest

from tests.config.world import BASE, PIPELINES, graph, layout_of
from trunkline.cli.main import main
from trunkline.config import FrozenGraph

APP = "- job: {name: unit, run: u.yaml, files: ^src/}\n- project: {check: {jobs: [unit]}}\n"


@pytest.fixture
def installation(tmp_path):
    (tmp_path / "zuul.conf").write_text(
        "[connection gerrit]\ndriver=gerrit\nserver=review.example.com\n[scheduler]\ndefault_ansible_version=9\n"
    )
    (tmp_path / "main.yaml").write_text(
        "- tenant: {name: one, source: {gerrit: {config-projects: [config], untrusted-projects: [org/app]}}}\n"
    )
    for name, text in (("config", PIPELINES + BASE), ("org_app", APP)):
        (tmp_path / "trees" / name).mkdir(parents=True)
        (tmp_path / "trees" / name / "zuul.yaml").write_text(text)
    return [
        *("--zuul-conf", str(tmp_path / "zuul.conf"), "--tenant-file", str(tmp_path / "main.yaml")),
        *("--trees", str(tmp_path / "trees")),
    ]


def test_dump_prints_tenants_and_frozen_jobs(installation, capsys):
    assert main(["config", "dump", *installation]) == 0
    one = json.loads(capsys.readouterr().out)["one"]
    (job,) = one["projects"]["review.example.com/org/app"]["pipelines"]["check"]["master"]
    assert job["ansible_version"] == "9"
    assert job["applied"] == [
        "base config/zuul.yaml@master:16",
        "unit org/app/zuul.yaml@master:1",
        "unit org/app/zuul.yaml@master:2",
    ]


def test_dump_of_a_project_obeys_its_files(installation, capsys):
    options = ["--project", "org/app", "--pipeline", "check", "--files", "docs/x"]
    assert main(["config", "dump", *installation, *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"check": []}


def test_decide_answers_each_question(installation, capsys, monkeypatch):
    question = {"project": "review.example.com/org/app", "pipeline": "check", "ref": "change", "branch": "master"}
    questions = {"one": [{**question, "files": ["src/a"]}, {**question, "files": ["docs/a"]}]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(questions)))
    assert main(["config", "decide", *installation, "--why"]) == 0
    first, second = json.loads(capsys.readouterr().out)["one"]
    assert (first["jobs"], second["jobs"]) == (["unit"], [])
    assert any("no file matches" in line for line in second["why"])


def test_why_tells_what_was_looked_at(installation, capsys):
    options = ["unit", "--project", "org/app", "--pipeline", "check", "--files", "src/a"]
    assert main(["config", "why", *installation, *options]) == 0
    assert "unit runs for review.example.com/org/app" in capsys.readouterr().out


def test_check_of_a_directory_ends_with_one_if_there_are_errors(tmp_path, capsys):
    (tmp_path / "zuul.yaml").write_text("- job: {nam: x}\n")
    assert main(["config", "check", str(tmp_path)]) == 1
    assert "zuul.yaml:1:" in capsys.readouterr().out
    (tmp_path / "zuul.yaml").write_text("- job: {name: x}\n")
    assert main(["config", "check", str(tmp_path)]) == 0


def test_the_schema_knows_every_object(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {key for entry in schema["items"]["anyOf"] for key in entry["properties"]} >= {"job", "project", "pipeline"}


def test_a_graph_survives_json():
    found = graph(layout_of({"config": PIPELINES + BASE, "org/app": APP}))
    assert msgspec.json.decode(msgspec.json.encode(found), type=FrozenGraph) == found
