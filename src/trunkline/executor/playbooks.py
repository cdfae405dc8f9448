"""From a frozen job to playbooks on disk: checkouts of playbooks and roles, role links, ansible.cfg.

One checkout per (trust, project, ref); directories are numbered in the order of need, as jobs see them in
`zuul.playbook_context`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trunkline.config import FrozenJob
from trunkline.config.frozen import FrozenPlaybook, FrozenRole, IncludeVars
from trunkline.executor.checkout import choose_ref, shown
from trunkline.executor.jobdir import JobDir
from trunkline.executor.request import BuildRequest, Checkout, ProjectInfo, WorkspaceMissing, Workspaces
from trunkline.executor.settings_file import ansible_settings
from trunkline.executor.variables import projects_by_name

Json = Any

BARE_ROLE_PARTS = ("tasks", "vars", "handlers", "defaults", "meta", "library", "templates", "files")
PHASES = ("pre", "run", "post")
DIRECTORY = {"pre": "pre_playbook", "run": "playbook", "post": "post_playbook"}
BANNER = {"pre": "PRE-RUN", "run": "RUN", "post": "POST-RUN"}


class PreparationFailed(Exception):
    """The job names something that is not there; the text is the build's error_detail."""


@dataclass(frozen=True)
class PlaybookPlan:
    """One playbook, ready to run. directory: ansible/…playbook_N with its settings; path: the playbook itself."""

    phase: str
    index: int
    frozen: FrozenPlaybook
    directory: Path
    path: Path
    has_secrets: bool

    @property
    def place(self) -> str:
        return f"{self.frozen.canonical_name}/{self.frozen.path}"

    @property
    def title(self) -> str:
        trust = "trusted" if self.frozen.trusted else "untrusted"
        return f"[{trust} : {self.place}@{self.frozen.branch}]"

    @property
    def banner(self) -> str:
        return BANNER[self.phase]

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yaml"

    @property
    def settings(self) -> Path:
        return self.directory / "ansible.cfg"

    @property
    def needs_frozen_variables(self) -> bool:
        return self.frozen.trusted or self.has_secrets


def frozen_playbooks(job: FrozenJob) -> Iterator[tuple[str, int, FrozenPlaybook]]:
    """(phase, index, playbook) in order; old-style clean-up playbooks end the post phase."""
    yield from (("pre", index, playbook) for index, playbook in enumerate(job.pre_playbooks))
    yield from (("run", index, playbook) for index, playbook in enumerate(job.playbooks))
    post = (*job.post_playbooks, *(p for p in job.cleanup_playbooks if p not in job.post_playbooks))
    yield from (("post", index, playbook) for index, playbook in enumerate(post))


@dataclass
class Preparation:
    """Checks out what playbooks need; keeps what `zuul.playbook_context` tells about it."""

    request: BuildRequest
    where: JobDir
    workspaces: Workspaces
    checkouts: dict[tuple[bool, str, str], tuple[Path, Checkout]] = field(default_factory=dict)
    context: dict[str, Json] = field(default_factory=dict)

    async def playbooks(self) -> list[PlaybookPlan]:
        """Raises PreparationFailed, and what Workspaces raises."""
        entries: dict[str, list[Json]] = {phase: [] for phase in PHASES}
        plans = []
        for phase, index, playbook in frozen_playbooks(self.request.job):
            plan, entry = await self._playbook(phase, index, playbook)
            plans.append(plan)
            entries[phase].append(entry)
        self.context = {
            "playbook_projects": {
                self._relative(path): {"canonical_name": name, "checkout": shown(seen.ref), "commit": seen.commit}
                for (_trusted, name, _ref), (path, seen) in self.checkouts.items()
            },
            "pre_playbooks": entries["pre"],
            "playbooks": entries["run"],
            "post_playbooks": entries["post"],
        }
        return plans

    async def include_vars(self) -> list[dict[str, Json]]:
        """The maps of the job's include-vars, in order. Raises PreparationFailed."""
        found = []
        for entry in self.request.job.include_vars:
            values = await self._include_vars(entry)
            if values is not None:
                found.append(values)
        return found

    async def _include_vars(self, entry: IncludeVars) -> dict[str, Json] | None:
        project = self._project(entry.canonical_name or self.request.change.canonical_name)
        refs = await self.workspaces.refs(self.request, project, not entry.trusted)
        ref, reason = choose_ref(self.request, project, refs, item_branch=entry.branch, use_item_ref=entry.use_ref)
        root, _checkout = await self._check_out(entry.trusted, project, ref, reason)
        path = root / entry.name
        if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
            if entry.required:
                raise PreparationFailed(f"Required vars file {entry.name} not found")
            return None
        try:
            values = yaml.load(path.read_text(), yaml.CSafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PreparationFailed(f"Vars file {entry.name} cannot be read: {error}") from error
        if values is not None and not isinstance(values, dict):
            raise PreparationFailed(f"Vars file {entry.name} holds no map")
        return values

    async def _playbook(self, phase: str, index: int, playbook: FrozenPlaybook) -> tuple[PlaybookPlan, Json]:
        project = self._project(playbook.canonical_name)
        ref = f"refs/heads/{playbook.branch}"
        root, _checkout = await self._check_out(playbook.trusted, project, ref, "playbook branch")
        path = root / playbook.path
        if not path.is_file():
            raise PreparationFailed(f"Unable to find playbook {path}")
        directory = self.where.ansible / f"{DIRECTORY[phase]}_{index}"
        (directory / "group_vars").mkdir(parents=True)
        plan = PlaybookPlan(phase, index, playbook, directory, path, bool(playbook.secrets))
        roles_path, shown_roles = [], []
        for number, role in enumerate(playbook.roles):
            found = await self._role(plan, number, role)
            if found is not None:
                roles_path.append(found[0])
                shown_roles.append(found[1])
        plan.settings.write_text(
            ansible_settings(
                self.where, plan.inventory, console=True, roles_path=roles_path, show_arguments=not plan.has_secrets
            )
        )
        return plan, {"path": self._relative(path), "roles": shown_roles}

    async def _role(self, plan: PlaybookPlan, number: int, role: FrozenRole) -> tuple[Path, Json] | None:
        project = self._project(role.canonical_name, role.project_default_branch)
        if role.canonical_name == plan.frozen.canonical_name:
            ref, reason = f"refs/heads/{plan.frozen.branch}", "playbook branch"
        else:
            refs = await self.workspaces.refs(self.request, project, not plan.frozen.trusted)
            ref, reason = choose_ref(self.request, project, refs, item_branch=plan.frozen.branch)
        root, checkout = await self._check_out(plan.frozen.trusted, project, ref, reason)
        directory = plan.directory / f"role_{number}"
        directory.mkdir()
        link = directory / role.target_name
        link.symlink_to(root)
        if (root / "roles").is_dir():
            roles_path = link / "roles"
        elif any((root / part).is_dir() for part in BARE_ROLE_PARTS):
            roles_path = directory
        elif role.implicit:
            return None
        else:
            raise PreparationFailed(f"Unable to find role in {link}")
        entry = {
            "checkout": shown(checkout.ref),
            "checkout_description": reason,
            "link_name": self._relative(link),
            "link_target": self._relative(root),
            "role_path": self._relative(roles_path),
        }
        return roles_path, entry

    async def _check_out(self, trusted: bool, project: ProjectInfo, ref: str, reason: str) -> tuple[Path, Checkout]:
        key = (trusted, project.canonical_name, ref)
        if key not in self.checkouts:
            side = "trusted" if trusted else "untrusted"
            number = sum(1 for known_side, _name, _ref in self.checkouts if known_side == trusted)
            path = self.where.root / side / f"project_{number}" / project.canonical_hostname / project.name
            path.parent.mkdir(parents=True)
            try:
                seen = await self.workspaces.content(self.request, project, ref, not trusted, path)
            except WorkspaceMissing as error:
                raise PreparationFailed(str(error)) from error
            self.checkouts[key] = (path, Checkout(ref=ref, description=reason, commit=seen.commit))
        return self.checkouts[key]

    def _project(self, canonical_name: str, default_branch: str = "master") -> ProjectInfo:
        known = projects_by_name(self.request).get(canonical_name)
        if known is None:
            raise PreparationFailed(f"Project {canonical_name} is not known to this build")
        return known

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.where.root)
