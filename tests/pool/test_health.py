"""The circuit breaker and what refusals teach."""

from __future__ import annotations

from trunkline.pool import Outcome, ProviderHealth, RegionStatus, Trouble, observe
from trunkline.pool.health import is_avoided, may_call
from trunkline.pool.quota import ceiling_now

REFUSED = Outcome(Trouble.down, "connection refused")


def after(*outcomes: Outcome, health: ProviderHealth = ProviderHealth(), at: float = 0.0) -> ProviderHealth:
    for outcome in outcomes:
        health = observe(health, outcome, at)
    return health


def test_one_failed_call_is_nothing_three_in_a_row_open_the_circuit():
    assert after(REFUSED, REFUSED).status is RegionStatus.healthy
    assert after(REFUSED, REFUSED, Outcome(), REFUSED).status is RegionStatus.healthy
    opened = after(REFUSED, REFUSED, REFUSED)
    assert opened.status is RegionStatus.down
    assert "connection refused" in opened.reason


def test_an_open_circuit_is_probed_later_and_later():
    health = after(REFUSED, REFUSED, REFUSED)
    pauses = []
    now = 0.0
    for _ in range(12):
        assert not may_call(health, now)
        pauses.append(health.probe_at - now)
        now = health.probe_at
        assert may_call(health, now)
        health = observe(health, REFUSED, now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0


def test_a_probe_that_succeeds_closes_the_circuit():
    assert after(Outcome(), health=after(REFUSED, REFUSED, REFUSED), at=100.0).status is RegionStatus.healthy


def test_a_region_that_lost_its_launches_comes_back_with_care():
    health = after(*[Outcome(Trouble.unreachable, "no answer")] * 8)
    assert health.status is RegionStatus.down
    health = after(Outcome(), health=health, at=100.0)
    assert health.status is RegionStatus.degraded
    assert after(Outcome(ready_s=20.0), health=health, at=130.0).status is RegionStatus.healthy


def test_a_learned_ceiling_rises_again():
    health = after(Outcome(Trouble.quota, "Quota exceeded", in_use=10), at=0.0)
    assert ceiling_now(health, 0.0)[0] == 10
    assert ceiling_now(health, 60.0)[0] == 11
    assert ceiling_now(health, 600.0)[0] == 20


def test_a_flavor_without_room_is_avoided_for_longer_each_time():
    full = Outcome(Trouble.capacity, "No valid host was found.", flavor="big")
    health = after(full)
    assert is_avoided(health, "big", None, 10.0)
    assert not is_avoided(health, "small", None, 10.0)
    assert not is_avoided(health, "big", None, 21.0)
    health = after(full, health=health, at=21.0)
    assert is_avoided(health, "big", None, 60.0)
    assert not is_avoided(after(Outcome(ready_s=1.0, flavor="big"), health=health, at=62.0), "big", None, 60.0)


def test_time_to_ready_is_learned():
    health = after(*[Outcome(ready_s=40.0)] * 3)
    assert health.ready_s == 40.0
