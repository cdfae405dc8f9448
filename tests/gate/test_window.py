"""How far speculation reaches."""

import pytest

from tests.gate.play import Play, builds, cancels, change, enqueued, failed, gate, job, landed, lands, passed, reports
from trunkline.gate.events import Reconfigured
from trunkline.gate.window import grown, shrunk

A, B, C, D, E = (change(name) for name in "ABCDE")
NARROW = {"window": 2, "window_floor": 1}


def four() -> Play:
    return Play(gate(**NARROW)) >> enqueued(A) >> enqueued(B) >> enqueued(C) >> enqueued(D)


def test_outside_the_window_nothing_is_built():
    four() << builds("test: A", "test: A B")


def test_a_failure_at_the_head_halves_the_window_and_a_landing_adds_one():
    play = four() >> failed("A")
    play << builds("test: B")
    play >> passed("B") >> landed("B") << builds("test: C", "test: C D")
    play >> passed("C") >> landed("C") << lands("B", "C")
    assert play.queue.window == 3


def test_a_window_that_shrinks_takes_back_what_falls_outside():
    play = Play(gate(window=4, window_floor=1), job("test"), job("slow"))
    for each in (A, B, C, D, E):
        play >> enqueued(each)
    play >> failed("A")
    play << builds("slow: A", *(f"{j}: {f}" for j in ("test", "slow") for f in ("B", "B C", "B C D")))
    play << cancels("test: B", "test: C", "slow: B", "slow: C", "test: D", "slow: D")
    play >> passed("A", "slow")
    play << builds("test: B", "slow: B", "test: B C", "slow: B C") << cancels("test: D", "slow: D")


def test_the_window_never_falls_below_its_floor():
    play = Play(gate(window=4, window_floor=3))
    for each in (A, B, C, D, E):
        play >> enqueued(each)
    play >> failed("A") >> failed("B")
    assert play.queue.window == 3
    play << reports("failure: A", "failure: B") << builds("test: C", "test: C D", "test: C D E")


@pytest.mark.parametrize(
    ("settings", "window", "after_landing", "after_failure"),
    [
        ({"window_floor": 3}, 20, 21, 10),
        ({"window_floor": 3}, 3, 4, 3),
        ({"increase_type": "exponential", "increase_factor": 2, "window_ceiling": 30}, 20, 30, 10),
        ({"decrease_type": "linear", "decrease_factor": 4}, 20, 21, 16),
        ({}, 0, 0, 0),
    ],
)
def test_the_arithmetic_of_windows(settings, window, after_landing, after_failure):
    assert grown(window, gate(**settings)) == after_landing
    assert shrunk(window, gate(**settings)) == after_failure


def test_no_window_tests_everything_at_once():
    play = Play(gate(window=0))
    for n in range(30):
        play >> enqueued(change(f"c{n}"))
    assert len(play.live) == 30


def test_a_reconfigured_window_counts_at_once():
    play = four() >> Reconfigured(gate(window=1, window_floor=1), refreeze=False)
    play << builds("test: A") << cancels("test: B")
    play >> Reconfigured(gate(window=3, window_floor=1), refreeze=False)
    play << builds("test: A", "test: A B", "test: A B C")


def test_what_the_window_has_learned_survives_other_reconfigurations():
    play = four() >> failed("A") >> Reconfigured(gate(**NARROW))
    assert play.queue.window == 1
