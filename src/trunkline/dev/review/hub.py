"""Who is told of events: a queue for every listener. What happens while nobody listens is lost, as in Gerrit."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from trunkline.dev.review.model import Account

Event = dict[str, Any]
Sees = Callable[[Account], bool]

_LIMIT = 10_000


class Hub:
    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[Event], Account] = {}

    @contextlib.contextmanager
    def listener(self, account: Account) -> Iterator[asyncio.Queue[Event]]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners[queue] = account
        try:
            yield queue
        finally:
            del self._listeners[queue]

    def publish(self, event: Event, sees: Sees) -> None:
        """Tell those who may see it. One who does not read is told that output was dropped, once."""
        for queue, account in self._listeners.items():
            if not sees(account):
                continue
            if queue.qsize() < _LIMIT:
                queue.put_nowait(event)
            elif queue.qsize() == _LIMIT:
                queue.put_nowait({"type": "dropped-output", "eventCreatedOn": event["eventCreatedOn"]})
