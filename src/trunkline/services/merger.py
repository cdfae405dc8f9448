"""The merger: reads configuration from repositories and merges futures. It has git and nothing else."""

from __future__ import annotations

from trunkline.git import Identity, RepoStore
from trunkline.services import configuration
from trunkline.services.merging import Merging
from trunkline.services.process import Process
from trunkline.services.settings import Settings
from trunkline.services.sources import Sources
from trunkline.store import tasks

CONCURRENCY = 8


def identity(settings: Settings) -> Identity:
    """Who speculative commits say made them: the same for every service of an installation."""
    return Identity(
        settings.get("merger", "git_user_name", "Trunkline"),
        settings.get("merger", "git_user_email", "trunkline@localhost"),
    )


async def main(process: Process) -> None:
    settings = process.settings
    sources = Sources.open(settings)
    repos = RepoStore(settings.git_dir_merger)
    merging = Merging(process.db, repos, sources, identity(settings))
    app = tasks.make_app(settings.dburi)

    @app.task(name="config.load", queue=tasks.MERGER, retry=tasks.PATIENT)
    async def load(tenant: str, projects: list[str] | None = None) -> None:
        await configuration.load(process.db, repos, sources, tenant, projects)

    @app.task(name="merge.future", queue=tasks.MERGER, retry=tasks.PATIENT)
    async def future(future: str) -> None:
        await merging.future(future)

    @app.task(name="merge.states", queue=tasks.MERGER, retry=tasks.PATIENT)
    async def states(future: str, projects: list[dict[str, str]], round: int | None = None) -> None:
        await merging.states(future, projects, round)

    try:
        await process.work(app, [tasks.MERGER], CONCURRENCY)
    finally:
        await sources.close()
