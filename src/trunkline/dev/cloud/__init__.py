"""Emulated OpenStack regions with real SSH servers behind them, in one process.

Nouns: a *world* of *clouds* (accounts: users, tokens) with *regions* (everything else), each after a vendor *profile*; a
region's *servers* have *hosts*, which a *hypervisor* forks; *faults* strike in a scope; a *ledger* remembers what existed.
Data comes in as HTTP on loopback (`serve` listens, `api` answers) and as the control API (`control`); it goes out as
clouds.yaml and the `ready` file. State is in memory and ends with the process, and so do the servers.

What may live here: what makes this world behave as real clouds do. What may not: anything that production code imports;
it comes here over sockets. Nothing here imports the rest of the project. The manual is docs/emulated-clouds.md.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the emulator until it is told to stop; see `run.main`. Imported late: servers' processes need only `node`."""
    from trunkline.dev.cloud import run

    return run.main(argv)


__all__ = ["main"]
