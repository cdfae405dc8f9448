"""How fast a cloud may be asked: a token bucket whose rate falls when the cloud says so and rises again (AIMD).

One limiter is shared by all threads that use an account. It sits under the SDK as the transport of its HTTP session, so
that every request counts, also those that the SDK makes by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import requests
from keystoneauth1.exceptions import DiscoveryFailure
from keystoneauth1.session import TCPKeepAliveAdapter

SLOW_DOWN = frozenset({413, 429, 503})
DECREASE = 0.5
INCREASE = 0.05  # of the full rate, for each second without complaint
LEAST_RATE = 0.1
LONGEST_PAUSE_S = 120.0


class Limiter:
    """Tokens come at `rate` a second, up to `burst` are kept. Thread safe."""

    def __init__(
        self,
        rate: float,
        burst: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert rate > 0
        self.full_rate = rate
        self.rate = rate
        self.burst = burst if burst is not None else max(1.0, 2 * rate)
        self.calls = 0
        self.refusals = 0
        self._tokens = self.burst
        self._clock, self._sleep = clock, sleep
        self._at = clock()
        self._not_before = self._at
        self._changed = self._at
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Take a token, sleeping as long as that needs. Returns the seconds waited."""
        with self._lock:
            now = self._clock()
            self._refill(now)
            self._tokens -= 1.0
            self.calls += 1
            wait_s = max(0.0, -self._tokens / self.rate, self._not_before - now)
        if wait_s > 0:
            self._sleep(wait_s)
        return wait_s

    def observe(self, status: int, retry_after_s: float | None) -> None:
        """Learn from an answer: slower after a complaint, a little faster after a good while."""
        with self._lock:
            now = self._clock()
            if status in SLOW_DOWN:
                self.refusals += 1
                if now - self._changed > 0.5:  # many threads hear of one complaint
                    self.rate = max(LEAST_RATE, self.rate * DECREASE)
                    self._changed = now
                pause_s = min(retry_after_s if retry_after_s is not None else 1.0, LONGEST_PAUSE_S)
                self._not_before = max(self._not_before, now + pause_s)
            elif self.rate < self.full_rate and now - self._changed >= 1.0:
                self.rate = min(self.full_rate, self.rate + INCREASE * self.full_rate * (now - self._changed))
                self._changed = now

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now


class LimitedTransport(TCPKeepAliveAdapter):  # type: ignore[misc]
    """An HTTP transport that asks a limiter before each request and tells it the answer."""

    def __init__(self, limiter: Limiter, timeout_s: float) -> None:
        super().__init__(pool_maxsize=32)
        self._limiter = limiter
        self._timeout_s = timeout_s

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self._limiter.wait()
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout_s
        response: requests.Response = super().send(request, **kwargs)
        self._limiter.observe(response.status_code, retry_after(response.headers.get("Retry-After")))
        if response.status_code == 401 and request.method == "GET" and "X-Auth-Token" not in request.headers:
            # keystoneauth would log in to discover how to log in, and wait for its own lock for ever
            raise DiscoveryFailure(f"{request.url}: credentials are wanted to see which versions there are (401)")
        return response


def retry_after(value: str | None) -> float | None:
    """Seconds; a date is taken as "soon"."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        return 5.0
