"""The directory of one build: job_dir/UUID, with everything that the build has on this machine.

What a sandbox sees of it: `work`, `home`, `.ansible` (read-write), `ansible`, `trusted`, `untrusted`, `kube` (read-only),
`run` at /run/trunkline (sockets). `private` is never shown: it holds what the executor writes for itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

WRITABLE = ("work", "home", ".ansible")
READABLE = ("ansible", "trusted", "untrusted", "kube")
SOCKETS = Path("/run/trunkline")
CONTROL_PATHS = Path("/run/cp")


@dataclass(frozen=True)
class JobDir:
    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def logs(self) -> Path:
        return self.work / "logs"

    @property
    def src(self) -> Path:
        return self.work / "src"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def ansible(self) -> Path:
        return self.root / "ansible"

    @property
    def fact_cache(self) -> Path:
        return self.root / ".ansible" / "fact-cache"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def results(self) -> Path:
        return self.work / "results.json"

    @property
    def console(self) -> Path:
        return self.logs / "job-output.txt"

    @property
    def document(self) -> Path:
        return self.logs / "job-output.json"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    @property
    def zuul_vars(self) -> Path:
        return self.ansible / "zuul_vars.yaml"

    @property
    def fixed_vars(self) -> Path:
        return self.ansible / "vars_blacklist.yaml"


def create(job_dir: Path, uuid: str) -> JobDir:
    """Make the directories of a build. A directory of that name is from a lost attempt and is removed first."""
    job_dir.mkdir(parents=True, exist_ok=True)
    where = JobDir(job_dir.resolve() / uuid)
    if where.root.exists():
        remove(where.root)
    where.root.mkdir(mode=0o700)
    for part in (
        where.src,
        where.logs,
        where.work / "tmp",
        where.known_hosts.parent,
        where.fact_cache,
        where.ansible,
        where.root / "trusted",
        where.root / "untrusted",
        where.root / "kube",
        where.run,
        where.private,
    ):
        part.mkdir(parents=True)
    where.known_hosts.parent.chmod(0o700)
    where.results.touch()
    return where


def remove(root: Path) -> None:
    """Remove a build's directory, read-only parts included."""

    def make_writable(_function: object, name: str, _error: object) -> None:
        parent = os.path.dirname(name)
        with contextlib.suppress(OSError):
            os.chmod(parent, 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)

    shutil.rmtree(root, onerror=make_writable)


def clean_leftovers(job_dir: Path, live: Collection[str] = ()) -> list[str]:
    """Remove the directories of builds that are not `live`; returns their uuids. For the start of an executor."""
    if not job_dir.is_dir():
        return []
    gone = [entry.name for entry in os.scandir(job_dir) if _is_build(entry) and entry.name not in live]
    for uuid in gone:
        remove(job_dir / uuid)
    return sorted(gone)


def _is_build(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and len(entry.name) >= 32 and set(entry.name) <= set("0123456789abcdef-")
