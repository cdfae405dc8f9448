"""How much disk a build uses, measured while it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

FIRST_LOOK_S = 0.5
LOOK_EVERY_S = 2.0
SHARE_OF_TIME = 20  # a look may take one part in so many of the time


def used_bytes(root: Path, stop_above: int) -> int:
    """Blocks used below `root`; counting stops above `stop_above`. Files with several links count once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [str(root)]
    while waiting and total <= stop_above:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


async def watch_disk(root: Path, limit_mib: int, on_full: Callable[[], None]) -> None:
    """Call `on_full` once the directory has grown over the limit. Runs until cancelled."""
    limit = limit_mib << 20
    loop = asyncio.get_running_loop()
    pause = FIRST_LOOK_S
    while True:
        await asyncio.sleep(pause)
        begin = loop.time()
        if await asyncio.to_thread(used_bytes, root, limit) > limit:
            on_full()
            return
        pause = max(LOOK_EVERY_S, (loop.time() - begin) * SHARE_OF_TIME)
