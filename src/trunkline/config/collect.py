"""Which definitions make a job for a subject: project pipelines, variants, parents, override checkouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trunkline.config.definitions import JobDef, JobEntry, Parameter, ProjectDef
from trunkline.config.errors import Refused
from trunkline.config.implied import Matcher
from trunkline.config.merging import deep_merge
from trunkline.config.source import RefKind, Subject

if TYPE_CHECKING:
    from trunkline.config.layout import Layout

ANY_PROJECT = ""
MOST_LEVELS = 200


class ProjectJobs:
    """What the stanzas of a project say about one pipeline for one subject."""

    def __init__(self) -> None:
        self.found = False
        self.jobs: dict[str, list[tuple[JobEntry, ProjectDef]]] = {}
        self.variables: dict[str, Any] = {}
        self.debug = False
        self.fail_fast: bool | None = None
        self.parameters: dict[str, Parameter] = {}
        self.notes: list[str] = []

    def add(self, stanza: ProjectDef, pipeline: str) -> None:
        listed = stanza.pipelines.get(pipeline)
        if listed is None:
            return
        self.found = True
        for entry in listed.jobs:
            self.jobs.setdefault(entry.name, []).append((entry, stanza))
        self.debug |= listed.debug
        if self.fail_fast is None:
            self.fail_fast = listed.fail_fast
        for parameter in listed.parameters:
            self.parameters.setdefault(parameter.name, parameter)


def project_jobs(layout: Layout, subject: Subject, pipeline: str) -> ProjectJobs:
    """All matching stanzas of the subject's project, each with its templates first."""
    out = ProjectJobs()
    for stanza in layout.stanzas(subject.project):
        matcher = layout.stanza_matcher(stanza, subject.project)
        where = f"{stanza.source}, line {stanza.place.line}"
        if matcher is not None and not matcher.matches(subject):
            out.notes.append(f"Project stanza in {where}: does not match ({matcher})")
            continue
        out.notes.append(f"Project stanza in {where}: matches")
        for name in stanza.templates:
            templates: tuple[ProjectDef, ...] = layout.kept("project-template", name)
            if not templates:
                raise Refused(f'The project template "{name}" was not found', name="Template Not Found")
            for template in templates:
                if pipeline not in template.pipelines:
                    continue
                condition = layout.stanza_matcher(template, subject.project)
                if condition is not None and not condition.matches(subject):
                    out.notes.append(f'Project template "{name}" in {template.source}: does not match ({condition})')
                    continue
                out.add(template, pipeline)
                out.variables = deep_merge(out.variables, template.variables)
        out.variables = deep_merge(out.variables, stanza.variables)
        out.add(stanza, pipeline)
    return out


def entry_matches(entry: JobEntry, subject: Subject) -> bool:
    return entry.job.branches is None or Matcher(entry.job.branches).matches(subject)


class Collector:
    """Collects the definitions of one job, parents first. `notes` says why each is in or out."""

    def __init__(self, layout: Layout, subject: Subject) -> None:
        self.layout, self.subject = layout, subject
        self.notes: list[str] = []
        self.found: list[tuple[JobDef, str]] = []
        self._taken: set[int] = set()
        self._visited: set[str] = set()

    def collect(self, name: str, overrides: Mapping[str, str], stack: tuple[str, ...] = ()) -> bool:
        """Append every matching definition of `name` and, first, of its parents. False: nothing matched."""
        self._visited.add(name)
        any_matched = False
        for variant in self.layout.kept("job", name):
            matches, label = self._matches(variant, overrides)
            where = f'"{name}" in {variant.source}, line {variant.place.line}' if variant.place.line else f'"{name}"'
            if not matches:
                self.notes.append(f"Job {where}: does not match ({label})")
                continue
            self.notes.append(f"Job {where}: matches")
            any_matched = True
            parent = self._parent(variant)
            if parent is not None and parent != name:
                if parent in stack:
                    raise Refused(f'The job "{name}" inherits from itself: {" → ".join((*stack, name, parent))}')
                if len(stack) >= MOST_LEVELS:
                    raise Refused(f'The job "{stack[0]}" inherits over more than {MOST_LEVELS} levels')
                above = self._with_overrides(variant, overrides)
                if parent not in self._visited and not self.collect(parent, above, (*stack, name)):
                    self.notes.append(f'Job "{name}": no definition of its parent "{parent}" matches')
                    return False
            if id(variant) not in self._taken:
                self._taken.add(id(variant))
                self.found.append((variant, label))
        return any_matched

    def _parent(self, variant: JobDef) -> str | None:
        if variant.has_parent:
            return variant.parent
        return None if self.found else self.layout.tenant.default_parent

    def _matches(self, variant: JobDef, overrides: Mapping[str, str]) -> tuple[bool, str]:
        matcher = self.layout.job_matcher(variant)
        if matcher is None:
            return True, ""
        project = variant.source.key[0]
        wanted = overrides.get(project) or overrides.get(ANY_PROJECT)
        if wanted is not None and wanted in self.layout.branches(project):
            return matcher.matches_branch(wanted), str(matcher)
        return matcher.matches(self.subject), str(matcher)

    def _with_overrides(self, variant: JobDef, overrides: Mapping[str, str]) -> Mapping[str, str]:
        own = overrides_of(self.layout, variant)
        return {**overrides, **own} if own else overrides


def overrides_of(layout: Layout, job: JobDef) -> dict[str, str]:
    """The override checkouts that a definition sets: by project, ANY_PROJECT for the job's own."""
    out: dict[str, str] = {}
    own = job.attrs.get("override-checkout") or job.attrs.get("override-branch")
    if own:
        out[ANY_PROJECT] = own
    for use in job.attrs.get("required-projects") or ():
        checkout = use.override_checkout or use.override_branch
        canonical = layout.find_project(use.name) if checkout else None
        if checkout and canonical:
            out[canonical] = checkout
    return out


def is_branch_like(subject: Subject) -> bool:
    return subject.kind in (RefKind.CHANGE, RefKind.BRANCH)
