"""Run the seeded simulation of the gate, or replay a failure by its seed."""

from __future__ import annotations

from trunkline.sim.main import configure, run

__all__ = ["configure", "run"]
