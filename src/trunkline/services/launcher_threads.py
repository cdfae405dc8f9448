"""A bounded crew of threads for calls that block, whose members never hold up the end of the process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Crew:
    """`await crew.run(function, …)` runs it in one of `size` daemon threads."""

    def __init__(self, size: int, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._size = size
        for i in range(size):
            threading.Thread(target=self._loop, name=f"{name}-{i}", daemon=True).start()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._work.put(partial(_call, loop, future, partial(function, *args, **kwargs)))
        return await future

    def dismiss(self) -> None:
        """Threads end after what they are at; nobody waits for them."""
        for _ in range(self._size):
            self._work.put(None)

    def _loop(self) -> None:
        while (task := self._work.get()) is not None:
            task()


def _call(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    if future.cancelled():
        return
    try:
        result, error = function(), None
    except Exception as caught:
        result, error = None, caught
    try:
        loop.call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        return  # the loop ended meanwhile; what the call did is found again by listing


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
