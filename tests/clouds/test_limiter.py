"""How fast clouds are asked."""

from __future__ import annotations

import pytest

from trunkline.clouds.limiter import Limiter, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def limiter(rate: float, burst: float = 1.0) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(rate, burst, clock=clock, sleep=clock.sleep), clock


def test_calls_come_at_the_rate_after_the_burst():
    it, clock = limiter(2.0, burst=4.0)
    for _ in range(4):
        assert it.wait() == 0.0
    for _ in range(10):
        it.wait()
    assert clock.now == pytest.approx(5.0)


@pytest.mark.parametrize("status", [413, 429, 503])
def test_a_complaint_halves_the_rate_and_is_waited_for(status: int):
    it, clock = limiter(10.0)
    clock.now = 10.0
    it.observe(status, 7.0)
    assert it.rate == 5.0
    it.wait()
    assert clock.now == 17.0


def test_one_complaint_heard_by_many_counts_once():
    it, clock = limiter(8.0)
    clock.now = 10.0
    for _ in range(5):
        it.observe(429, None)
    assert it.rate == 4.0


def test_the_rate_recovers():
    it, clock = limiter(10.0)
    clock.now = 10.0
    it.observe(429, 0.0)
    for _ in range(20):
        clock.now += 1.0
        it.observe(200, None)
    assert it.rate == 10.0


def test_retry_after_may_be_seconds_or_a_date():
    assert retry_after(None) is None
    assert retry_after("2") == 2.0
    assert retry_after("Wed, 21 Oct 2026 07:28:00 GMT") == 5.0
