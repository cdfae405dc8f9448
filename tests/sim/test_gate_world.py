"""Seeded worlds around the gate: late, repeated and reordered events, lost executors, people who intervene."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.gate.model import Manager
from trunkline.sim import main
from trunkline.sim.gate_laws import LawBroken
from trunkline.sim.gate_world import GateWorld


@pytest.mark.parametrize("manager", list(Manager))
@pytest.mark.parametrize("seed", range(4))
def test_the_laws_hold_in_seeded_worlds(manager: Manager, seed: int) -> None:
    GateWorld(seed, manager=manager, changes=25).run()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), manager=st.sampled_from(list(Manager)), changes=st.integers(1, 12))
def test_the_laws_hold_in_any_small_world(seed: int, manager: Manager, changes: int) -> None:
    GateWorld(seed, manager=manager, changes=changes).run()


def test_the_same_seed_is_the_same_world() -> None:
    first, second = GateWorld(5, changes=10), GateWorld(5, changes=10)
    first.run()
    second.run()
    assert first.trace == second.trace


def test_worlds_are_run_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--runs", "2", "--changes", "5"]) == 0
    assert "2 worlds, 0 broken" in capsys.readouterr().out


def test_a_broken_law_prints_the_seed_and_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: GateWorld) -> None:
        raise LawBroken("L2: nobody leaves")

    monkeypatch.setattr(GateWorld, "run", broken)
    assert main(["--seed", "7"]) == 1
    said = capsys.readouterr().out
    assert "seed 7: L2: nobody leaves" in said
    assert "./tl sim gate --seed 7" in said
