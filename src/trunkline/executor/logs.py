"""Taking the logs out of a finished build's directory, which its job could write to."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from trunkline.executor.jobdir import JobDir


def keep_logs(job_dir: Path, uuid: str, destination: Path) -> int:
    """Copy regular files below work/logs to `destination`; answers how many. Links, devices and pipes stay behind.

    The console comes from where no job reaches, whatever stands in its place in work/logs.
    """
    where = JobDir(job_dir / uuid)
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    count = 0
    try:
        top = os.open(where.logs, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        top = -1
    if top >= 0:
        try:
            for place, _directories, files, descriptor in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                for name in files:
                    count += _copy(name, descriptor, destination / place / name)
        finally:
            os.close(top)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(where.private / "console", destination / "job-output.txt")
    return count


def _copy(name: str, directory: int, target: Path) -> int:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return 0
    with os.fdopen(descriptor, "rb") as source:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as copy:
            shutil.copyfileobj(source, copy)
    return 1
