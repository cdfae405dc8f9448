"""The fleet's settings, and application files out of real repositories."""

import asyncio
import subprocess
from types import SimpleNamespace

import pytest

from trunkline.fleet.files import PLACES, pick
from trunkline.git import GitFailed, GitSource, RepoStore
from trunkline.services.fleet_git import ProjectFiles
from trunkline.services.fleet_probes import Vantage
from trunkline.services.fleet_process import fleet_settings
from trunkline.services.settings import Settings, SettingsError


def settings(tmp_path, text):
    path = tmp_path / "zuul.conf"
    path.write_text(text)
    return fleet_settings(Settings.read(path))


def test_without_a_section_there_are_two_vantage_points_and_no_name_server(tmp_path):
    found = settings(tmp_path, f"[scheduler]\nstate_dir={tmp_path}\n")
    assert len(found.vantages) == 2
    assert found.dns_port is None
    assert found.endpoints_dir == tmp_path / "fleet-endpoints"


def test_the_section_is_read(tmp_path):
    found = settings(
        tmp_path, "[fleet]\ndns_port=0\nvantages=east=127.0.0.1, west=127.0.0.2\nendpoints_dir=out\ntick=0.5\n"
    )
    assert found.dns_port == 0
    assert found.vantages == (Vantage("east", "127.0.0.1"), Vantage("west", "127.0.0.2"))
    assert found.endpoints_dir == tmp_path / "out"
    assert found.tick_s == 0.5


@pytest.mark.parametrize("line", ["dns_port=domain", "vantages=a=127.0.0.1,a=127.0.0.2", "tick=often"])
def test_a_setting_that_can_not_be_used_is_named(tmp_path, line):
    with pytest.raises(SettingsError, match=r"\[fleet\]"):
        settings(tmp_path, f"[fleet]\n{line}\n")


def test_application_files_are_read_at_the_commit_that_landed(tmp_path):
    work = tmp_path / "work"
    (work / "trunkline.d").mkdir(parents=True)
    (work / "trunkline.d" / "a.yaml").write_text("first")
    (work / "other.yaml").write_text("not ours")

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *words], cwd=work, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    old = git("rev-parse", "HEAD")
    (work / "trunkline.d" / "a.yaml").write_text("second")
    git("commit", "-q", "-a", "-m", "two")

    driver = SimpleNamespace(canonical_hostname="review")
    sources = SimpleNamespace(drivers={"gerrit": driver}, git_source=lambda connection, name: GitSource(url=str(work)))
    files = ProjectFiles(RepoStore(tmp_path / "repos"), sources)
    paths = [path for (path,) in PLACES]

    async def play():
        head = await files.head("review/shop", "main")
        assert head == git("rev-parse", "HEAD")
        assert await files.read_files("review/shop", head, paths) == {"trunkline.d/a.yaml": "second"}
        texts = await files.read_files("review/shop", old, paths)
        assert texts == {"trunkline.d/a.yaml": "first"}
        assert pick(texts) == ["trunkline.d/a.yaml"]
        with pytest.raises(GitFailed, match="canonical hostname nowhere"):
            await files.head("nowhere/shop", "main")

    asyncio.run(play())
