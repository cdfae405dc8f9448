"""The recorded tenants come out as recorded: errors, pipelines, job lists, frozen jobs, decisions."""

import json
import shutil
from pathlib import Path

import pytest

from tests.shared import SHARED, needs_shared
from trunkline.cli.config import load
from trunkline.config.dump import decide, dump_layout

LAYOUTS = SHARED / "corpus" / "layouts" if SHARED else Path("absent")
CASES = sorted(p.parent.name for p in LAYOUTS.glob("*/expected.json"))
UNORDERED = {"data-return"}
"""The recording lists the dependencies of one job in the order of an unordered set."""


class Args:
    tenant = None

    def __init__(self, root: Path) -> None:
        self.zuul_conf, self.tenant_file, self.trees = root / "zuul.conf", root / "main.yaml", root / "git"


def lay_out(case: Path, root: Path) -> Args:
    import importlib.util

    assert SHARED is not None
    spec = importlib.util.spec_from_file_location("compare", SHARED / "tools" / "config" / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    compare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compare)
    compare.lay_out(str(case), str(root))
    return Args(root)


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_tenant_comes_out_the_same(name, tmp_path):
    case = LAYOUTS / name
    _, layouts = load(lay_out(case, tmp_path))  # type: ignore[arg-type]
    expected = json.loads((case / "expected.json").read_text())
    for tenant, want in expected.items():
        have = dump_layout(layouts[tenant])
        assert keys(have["errors"]) == keys(want["errors"])
        assert have["jobs"] == want["jobs"]
        for pipeline, theirs in want["pipelines"].items():
            ours = have["pipelines"][pipeline]
            assert {k: ours[k] for k in theirs if k != "queues"} == {k: v for k, v in theirs.items() if k != "queues"}
        for project, theirs in want["projects"].items():
            compare_project(name, have["projects"][project]["pipelines"], theirs["pipelines"])
    questions = case / "changes.json"
    for tenant, recorded in json.loads(questions.read_text()).items() if questions.exists() else ():
        for question in recorded["changes"]:
            asked = {k: question[k] for k in ("project", "pipeline", "ref", "branch", "files")}
            answer = decide(layouts[tenant], asked)
            assert answer.get("jobs") == question.get("jobs"), question
    shutil.rmtree(tmp_path, ignore_errors=True)


def keys(errors):  # type: ignore[no-untyped-def]
    return sorted((e["name"], e["severity"], e["context"]) for e in errors)


def compare_project(case: str, ours, theirs) -> None:  # type: ignore[no-untyped-def]
    for pipeline, branches in theirs.items():
        for branch, jobs in branches.items():
            got = ours[pipeline][branch]
            if isinstance(jobs, dict):
                assert "error" in got
                continue
            assert [j["name"] for j in got] == [j["name"] for j in jobs]
            for mine, job in zip(got, jobs, strict=True):
                odd = {k for k, v in job.items() if plain(mine[k]) != v}
                assert not odd or (case in UNORDERED and odd == {"dependencies"}), (job["name"], odd)


def plain(value):  # type: ignore[no-untyped-def]
    if isinstance(value, list) and value and isinstance(value[0], dict) and "path" in value[0]:
        return [{k: p[k] for k in ("branch", "path", "project", "secrets", "trusted")} for p in value]
    return value


@needs_shared
def test_a_large_real_installation_loads_with_errors_of_missing_repositories_only(tmp_path):
    assert SHARED is not None
    real = SHARED / "corpus" / "real" / "openstack"
    trees = tmp_path / "git"
    trees.mkdir()
    for name in ("openstack/project-config", "openstack/openstack-zuul-jobs", "zuul/zuul-jobs"):
        (trees / name.replace("/", "_")).symlink_to(real / name.split("/")[1])
    (tmp_path / "zuul.conf").write_text(
        "[connection gerrit]\ndriver=gerrit\nserver=review.opendev.org\n[connection github]\ndriver=github\n"
        "[connection googlesource]\ndriver=gerrit\nserver=gerrit.googlesource.com\n[connection smtp]\ndriver=smtp\n"
        "[connection opendevorg]\ndriver=git\nbaseurl=https://opendev.org\n"
    )
    args = Args(tmp_path)
    args.tenant_file = real / "project-config" / "zuul" / "main.yaml"
    tenants, layouts = load(args)  # type: ignore[arg-type]
    assert tenants.errors == ()
    assert "openstack" in layouts
    for layout in layouts.values():
        for error in layout.errors:
            assert "not defined" in error.short or "not in this tenant" in error.short, error.message
