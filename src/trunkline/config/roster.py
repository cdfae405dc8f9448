"""The projects of a tenant by their names, and what is loaded of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from trunkline.config.definitions import Definition, ProjectDef
from trunkline.config.errors import ConfigError
from trunkline.config.fragment import Fragment
from trunkline.config.index import SourceKey
from trunkline.config.source import Source
from trunkline.config.tenant_model import ProjectSpec, TenantSpec


class ProjectFacts(msgspec.Struct, frozen=True):
    """What stanzas, and where they are silent the source, say about a project as a whole."""

    canonical_name: str
    queue_name: str | None
    merge_mode: str
    default_branch: str
    stanzas: tuple[ProjectDef, ...] = ()


class Roster:
    """The projects of a tenant by their names; shared by all layouts of the tenant."""

    def __init__(self, tenant: TenantSpec, sources: Sequence[Source]) -> None:
        self.specs = {p.canonical_name: p for p in tenant.projects}
        self.sources = {s.canonical_name: s for s in sources}
        self.short: dict[str, list[str]] = defaultdict(list)
        for project in tenant.projects:
            self.short[project.name].append(project.canonical_name)
        self.rank: dict[SourceKey, int] = {}
        for canonical in self.specs:
            for branch in self.branches(canonical):
                self.rank[(canonical, branch)] = len(self.rank)

    def branches(self, canonical: str) -> tuple[str, ...]:
        source = self.sources.get(canonical)
        return source.branches if source is not None else ()


def gather(spec: ProjectSpec, fragments: Sequence[Fragment]) -> tuple[list[Definition], tuple[ConfigError, ...]]:
    """What is loaded of a project's branch, and the complaints about its files."""
    definitions: list[Definition] = []
    errors: list[ConfigError] = []
    forbidden: Definition | None = None
    for fragment in fragments:
        for complaint in fragment.complaints:
            if complaint.kind is None or complaint.kind == "pragma" or complaint.kind in spec.classes:
                errors.append(complaint.error)
        for definition in fragment.definitions:
            kind = definition.place.kind
            if kind == "pipeline" and not spec.trusted:
                forbidden = forbidden or definition
            elif kind in spec.classes:
                definitions.append(definition)
    if forbidden is not None:
        short = f"The project {spec.name} may not define pipelines"
        mend = "Define pipelines in a config project."
        errors.append(forbidden.place.error(short, name="Pipeline Forbidden", mend=mend))
    return definitions, tuple(errors)
