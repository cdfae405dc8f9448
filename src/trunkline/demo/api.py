"""What the demo sees: the REST API, the review server, the clouds' control port. Blocking, with deadlines."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class StoryFailed(Exception):
    """Something that must happen did not, in time; the text says what."""


def get(url: str, timeout_s: float = 10.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return json.load(answer)


def call(method: str, url: str, body: Any = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(what: str, test: Callable[[], T | None], deadline_s: float, every_s: float = 0.15) -> T:
    """The first true value of `test`; an installation that restarts is waited for. Raises StoryFailed."""
    end = time.monotonic() + deadline_s
    last = ""
    while True:
        try:
            found = test()
            if found:
                return found
        except (urllib.error.URLError, OSError, ValueError) as problem:
            last = f" ({problem})"
        if time.monotonic() > end:
            raise StoryFailed(f"after {deadline_s:.0f} s not: {what}{last}")
        time.sleep(every_s)


class Api:
    """One tenant of an installation."""

    def __init__(self, root: str, tenant: str) -> None:
        self.root, self.tenant = root, tenant

    def __call__(self, path: str) -> Any:
        return get(f"{self.root}api/tenant/{self.tenant}/{path}")

    def queues(self) -> list[dict[str, Any]]:
        """[{pipeline, name, items}] with items from the head, live ones only."""
        found = []
        for pipeline in self("status")["pipelines"]:
            for queue in pipeline["change_queues"]:
                items = [item for run in queue["heads"] for item in run if item["live"]]
                if items:
                    found.append({"pipeline": pipeline["name"], "name": queue["name"], "items": items})
        return found

    def builds(self, **query: Any) -> list[dict[str, Any]]:
        words = "&".join(f"{key}={value}" for key, value in query.items())
        found: list[dict[str, Any]] = self(f"builds?limit=500&{words}")
        return found

    def application(self, name: str) -> dict[str, Any] | None:
        return next((a for a in self("applications") if a["name"] == name), None)

    def endpoints(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self(f"application/{name}/endpoints")["instances"]
        return found
