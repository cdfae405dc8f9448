"""A small world for one executor: real git repositories, a real warm runner, and a sink that writes down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trunkline.config import FrozenJob
from trunkline.config.frozen import FrozenPlaybook, SecretRef
from trunkline.executor import (
    BuildControl,
    BuildOutcome,
    BuildPrivate,
    BuildRequest,
    Checkout,
    ExecutorSite,
    NodeInfo,
    ProjectInfo,
    RefInfo,
    SandboxPaths,
    WarmRunner,
    WorkspaceMissing,
    run_build,
    site_paths,
    src_dir,
)

T = TypeVar("T")
HOST = "review.example.com"
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=master"]


def git(*words: str, cwd: Path) -> str:
    done = subprocess.run([*GIT, *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class GitWorkspaces:
    """Clones of plain repositories below one directory, without speculation: `<root>/<project>`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def prepare(
        self,
        request: BuildRequest,
        src_root: Path,
        step: Callable[[str], None],
        choose: Callable[[ProjectInfo, Collection[str]], tuple[str, str]],
    ) -> dict[str, Checkout]:
        for line in ("Updating git repos", "Cloning repos into workspace", "Restoring repo states", "Merging changes"):
            step(line)
        step("Checking out repos")
        found = {}
        for project in request.projects:
            place = src_dir(request.job.workspace_scheme, project.canonical_hostname, project.name)
            ref, reason = choose(project, await self.refs(request, project, True))
            commit = self._clone(project, ref, src_root.parent / place)
            found[project.canonical_name] = Checkout(ref=ref, description=reason, commit=commit)
        return found

    async def content(
        self, request: BuildRequest, project: ProjectInfo, ref: str, speculative: bool, destination: Path
    ) -> Checkout:
        if ref not in await self.refs(request, project, speculative):
            raise WorkspaceMissing(f"{project.canonical_name} has no {ref}")
        return Checkout(ref=ref, description="", commit=self._clone(project, ref, destination))

    async def refs(self, request: BuildRequest, project: ProjectInfo, speculative: bool) -> Collection[str]:
        return git("for-each-ref", "--format=%(refname)", cwd=self.root / project.name).split()

    def _clone(self, project: ProjectInfo, ref: str, destination: Path) -> str:
        destination.parent.mkdir(parents=True, exist_ok=True)
        branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        git(
            "clone",
            "-q",
            "--no-hardlinks",
            "-b",
            branch,
            str(self.root / project.name),
            str(destination),
            cwd=self.root,
        )
        git("remote", "set-url", "origin", "file:///dev/null", cwd=destination)
        return git("rev-parse", "HEAD", cwd=destination)


class WrittenSink:
    """Keeps what was reported, and lets tests wait for it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.changed = asyncio.Event()
        self.paused_data: dict[str, Any] = {}

    async def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    async def started(self) -> None:
        await self._note("started")

    async def nodes_in_use(self) -> None:
        await self._note("nodes in use")

    async def phase(self, name: str, index: int) -> None:
        await self._note(f"{name} {index}")

    async def failing(self) -> None:
        await self._note("failing")

    async def paused(self, data: dict[str, Any], secret_data: dict[str, Any]) -> None:
        self.paused_data = data
        await self._note("paused")

    async def resumed(self) -> None:
        await self._note("resumed")

    async def until(self, event: str, timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while event not in self.events:
                self.changed.clear()
                await self.changed.wait()


class Scene:
    """One executor with a trusted project `config` and an untrusted project `app`, both with files of the test's choice."""

    def __init__(self, root: Path, runner: WarmRunner | None = None, **site: Any) -> None:
        self.root = root
        self.repos = root / "repos"
        self.repos.mkdir(parents=True)
        own = {"job_dir": root / "builds", "hostname": "executor.example.com", "keep_job_dirs": True, **site}
        self.site = ExecutorSite(**own)
        self.site.job_dir.mkdir(exist_ok=True)
        self.runner = runner or WarmRunner(SandboxPaths(self.site.job_dir, site_paths(self.site)))
        self.workspaces = GitWorkspaces(self.repos)
        self.sink = WrittenSink()
        self.control = BuildControl()
        self.uuid = ""
        self.project("config", {"README": "trusted\n"})
        self.project("app", {"README": "untrusted\n"})

    def project(self, name: str, files: Mapping[str, str]) -> None:
        place = self.repos / name
        if not place.exists():
            place.mkdir(parents=True)
            git("init", "-q", cwd=place)
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        git("add", "-A", cwd=place)
        git("commit", "-q", "--allow-empty", "-m", "files", cwd=place)

    def playbook(self, name: str, text: str, *, trusted: bool = True, level: int = 0, **more: Any) -> FrozenPlaybook:
        """Write a playbook into `config` or `app`; answers how a frozen job names it."""
        project = "config" if trusted else "app"
        path = more.pop("path", f"playbooks/{name}.yaml")
        self.project(project, {path: text})
        secrets = tuple(
            SecretRef(alias, alias, "gerrit", project, f"{HOST}/{project}", "master")
            for alias in more.pop("secrets", ())
        )
        return FrozenPlaybook(
            connection="gerrit",
            project=project,
            canonical_name=f"{HOST}/{project}",
            branch="master",
            trusted=trusted,
            path=path,
            nesting_level=level,
            secrets=secrets,
            **more,
        )

    def request(
        self,
        run: tuple[FrozenPlaybook, ...] = (),
        pre: tuple[FrozenPlaybook, ...] = (),
        post: tuple[FrozenPlaybook, ...] = (),
        nodes: tuple[NodeInfo, ...] = (),
        **job: Any,
    ) -> BuildRequest:
        own = {name: job.pop(name) for name in list(job) if name in BuildRequest.__struct_fields__}
        change = RefInfo(
            connection="gerrit",
            canonical_hostname=HOST,
            project="app",
            ref="refs/changes/01/1/1",
            branch="master",
            change="1",
            patchset="1",
            commit_id=git("rev-parse", "HEAD", cwd=self.repos / "app"),
            url="https://review.example.com/1",
            message="A change\n\nwith {{ braces }}",
        )
        projects = tuple(
            ProjectInfo(connection="gerrit", canonical_hostname=HOST, name=name, canonical_name=f"{HOST}/{name}")
            for name in ("app", "config")
        )
        self.uuid = uuid.uuid4().hex
        return BuildRequest(
            uuid=self.uuid,
            buildset=uuid.uuid4().hex,
            event_id=uuid.uuid4().hex,
            tenant="tenant",
            pipeline="check",
            post_review=False,
            job=FrozenJob(
                name="job", project=f"{HOST}/app", playbooks=run, pre_playbooks=pre, post_playbooks=post, **job
            ),
            change=change,
            items=(change,),
            projects=projects[:1],
            playbook_projects=projects,
            nodes=nodes,
            **own,
        )

    async def run(self, request: BuildRequest, private: BuildPrivate | None = None) -> BuildOutcome:
        return await run_build(
            request,
            self.site,
            self.sink,
            workspaces=self.workspaces,
            runner=self.runner,
            control=self.control,
            private=private,
        )

    @property
    def build(self) -> Path:
        return self.site.job_dir / self.uuid

    @property
    def console(self) -> str:
        """job-output.txt without the times; empty until there is one."""
        try:
            text = (self.build / "private" / "console").read_text()
        except FileNotFoundError:
            return ""
        return "\n".join(line.partition(" | ")[2] for line in text.split("\n"))

    async def until_console(self, text: str, timeout_s: float = 40.0) -> None:
        async with asyncio.timeout(timeout_s):
            while text not in self.console:
                await asyncio.sleep(0.02)

    @property
    def document(self) -> list[dict[str, Any]]:
        loaded: list[dict[str, Any]] = json.loads((self.build / "work/logs/job-output.json").read_text())
        return loaded

    def forget(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


class Executor:
    """One warm runner for many scenes: what a real executor is. `go` runs a coroutine on its loop."""

    def __init__(self, root: Path) -> None:
        self.job_dir = root / "builds"
        self.job_dir.mkdir()
        self.loop = asyncio.Runner()
        self.runner = WarmRunner(SandboxPaths(self.job_dir))
        self.loop.run(self.runner.__aenter__())

    def go(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def scene(self, root: Path, **site: Any) -> Scene:
        return Scene(root / "scene", self.runner, job_dir=self.job_dir, **site)

    def close(self) -> None:
        self.loop.run(self.runner.__aexit__())
        self.loop.close()


@contextlib.asynccontextmanager
async def scene(root: Path, **site: Any) -> AsyncIterator[Scene]:
    made = Scene(root, **site)
    async with made.runner:
        yield made


def processes_with(text: str) -> list[int]:
    """Processes of this machine whose command line holds `text`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if text in Path(f"/proc/{entry}/cmdline").read_text("utf-8", "replace"):
                    found.append(int(entry))
    return found
