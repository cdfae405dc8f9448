"""Simulated worlds: virtual time and seeded faults around the pure cores.

A *world* carries out what a core asks for (merges, nodes, builds, landings) in virtual time, with a seed deciding how long
each takes, what fails, what is delivered twice, late or out of order. It drives the real `step`, and it checks the laws of
the specification after every event. Nothing here is imagined twice: what a world finds wrong is wrong in production.

May live here: worlds, workloads, the laws as checks. May not: I/O, clocks, randomness without a seed.

`main` runs worlds by seed; a failure prints the seed and the command that replays it.
"""

from trunkline.sim.main import main

__all__ = ["main"]
