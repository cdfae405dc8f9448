"""A tenant's layout: every definition, indexed by name. Signatures first; see freeze.py for the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.config.errors import ConfigError
from trunkline.config.fragment import Fragment
from trunkline.config.frozen import FrozenGraph
from trunkline.config.pipeline import Pipeline
from trunkline.config.source import RefKind, Source, Subject
from trunkline.config.tenant_model import ConnectionSpec, TenantSpec


class ProjectFacts:
    """What stanzas say about a project as a whole: queue_name, merge_mode, default_branch (plain attributes)."""

    queue_name: str | None
    merge_mode: str
    default_branch: str


class Layout:
    """Attributes: tenant, pipelines (in order), jobs {name: variants}, semaphores {name: max}, queues {name: Queue},
    errors (tuple of ConfigError, warnings too), providers, sections, labels, flavors, images {name: definition}."""

    tenant: TenantSpec
    errors: tuple[ConfigError, ...]
    pipelines: Mapping[str, Pipeline]

    def overlay(self, changed: Mapping[tuple[str, str], Mapping[str, Fragment] | Sequence[Fragment]]) -> Layout:
        """The layout of a future. Keys are (canonical project, branch), values the *whole* configuration of that
        branch in reading order. Config projects' changes are validated (errors appear), not used."""
        ...

    def new_errors(self, parent: Layout, touched: set[tuple[str, str]]) -> tuple[ConfigError, ...]:
        """Severity-error complaints that are not in `parent` or lie in a touched (project, branch)."""
        ...

    def freeze(self, pipeline: str, subjects: Sequence[Subject], before: Layout | None = None) -> FrozenGraph:
        """The job graph of an item. `before` is the layout without the item's own configuration changes."""
        ...

    def freeze_jobs(
        self,
        project: str,
        pipeline: str,
        kind: RefKind,
        branch: str | None = None,
        files: tuple[str, ...] | None = None,
        ref: str = "",
        before: Layout | None = None,
    ) -> FrozenGraph:
        """freeze() for one subject."""
        ...

    def project(self, canonical_name: str) -> ProjectFacts: ...

    def queue_of(self, canonical_name: str, branch: str | None) -> str | None: ...


def build_layout(
    tenant: TenantSpec, sources: Sequence[Source], connections: Mapping[str, ConnectionSpec] | None = None
) -> Layout:
    """Sources in the tenant's project order."""
    ...
