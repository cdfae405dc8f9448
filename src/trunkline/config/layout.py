"""A tenant's layout: every definition by name, who refers to what, and what is wrong.

A layout is a pure function of the tenant and its sources. An overlay replaces whole (project, branch) units: only
the groups of names that the old or new files touch, and those that refer to them, are decided again; everything
else is shared with the layout below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from trunkline.config.admission import admit, admitted_pipeline
from trunkline.config.builtin import NOOP
from trunkline.config.definitions import (
    Definition,
    JobDef,
    NodesetDef,
    ProjectDef,
    ProviderObject,
    QueueDef,
    SecretDef,
)
from trunkline.config.errors import ConfigError, Refused, Severity, make_error
from trunkline.config.fragment import Fragment
from trunkline.config.frozen import FrozenGraph
from trunkline.config.graph import freeze_graph
from trunkline.config.implied import Matcher, Origin, job_matcher, stanza_matcher
from trunkline.config.index import Key, Layered, SourceKey, key_of
from trunkline.config.pipeline import Pipeline
from trunkline.config.references import check_references, references_of
from trunkline.config.regex import full_match
from trunkline.config.roster import ProjectFacts, Roster, gather
from trunkline.config.source import RefKind, Source, SourceContext, Subject
from trunkline.config.tenant_model import ConnectionSpec, ProjectSpec, TenantSpec

NEVER_SPECULATIVE = frozenset({"pipeline", "semaphore", "section", "provider"})


class Layout:
    """Everything that a tenant's configuration means.

    Attributes: tenant; kept definitions by `kept(kind, name)`; pipelines in order; errors (warnings too).
    """

    def __init__(
        self,
        tenant: TenantSpec,
        connections: Mapping[str, ConnectionSpec] | None,
        roster: Roster,
        raw: Mapping[Key, tuple[Definition, ...]],
        admitted: Mapping[Key, tuple[Definition, ...]],
        admission_errors: Mapping[Key, tuple[ConfigError, ...]],
        file_errors: Mapping[SourceKey, tuple[ConfigError, ...]],
        contents: Mapping[SourceKey, tuple[Key, ...]],
    ) -> None:
        self.tenant, self.connections, self.roster = tenant, connections, roster
        self.raw, self.admitted = raw, admitted
        self.admission_errors, self.file_errors, self.contents = admission_errors, file_errors, contents
        self.reference_errors: Mapping[Key, tuple[ConfigError, ...]] = {}
        self.referrers: Mapping[Key, frozenset[Key]] = {}
        self.below: Layout | None = None
        self.validated: Layout = self
        self.changed: frozenset[Key] = frozenset()
        self.changed_sources: frozenset[SourceKey] = frozenset()
        self.speculative_branches: dict[str, tuple[str, ...]] = {}
        self._facts_cache: dict[str, ProjectFacts] = {}
        self._names: dict[str, list[str]] = {}
        self._job_cache: dict[Any, Any] = {}
        self._stanza_cache: dict[str, tuple[ProjectDef, ...]] = {}

    # names and projects
    def spec(self, canonical_name: str) -> ProjectSpec:
        return self.roster.specs[canonical_name]

    def project_names(self) -> list[str]:
        return list(self.roster.short)

    def find_project(self, name: str) -> str | None:
        """The canonical name of a project, None if unknown or ambiguous."""
        if name in self.roster.specs:
            return name
        found = self.roster.short.get(name, ())
        return found[0] if len(found) == 1 else None

    def unknown_project(self, name: str) -> str | None:
        """What is wrong with a name of a project, None if nothing is."""
        if self.find_project(name) is not None:
            return None
        if len(self.roster.short.get(name, ())) > 1:
            return f'The project name "{name}" is ambiguous: {", ".join(self.roster.short[name])}'
        return f'The project "{name}" is not in this tenant'

    def resolve(self, name: str) -> str:
        found = self.find_project(name)
        if found is None:
            raise Refused(self.unknown_project(name) or name, name="Project Not Found")
        return found

    def branches(self, canonical_name: str) -> tuple[str, ...]:
        extra = self.speculative_branches.get(canonical_name, ())
        return (*self.roster.branches(canonical_name), *extra)

    def default_branch(self, canonical_name: str) -> str:
        return self.project(canonical_name).default_branch

    # definitions
    def kept(self, kind: str, name: str) -> tuple[Any, ...]:
        """The definitions of a name that count, in layout order."""
        if kind == "job" and name == "noop":
            return (NOOP,)
        return self.admitted.get((kind, name)) or ()

    def names(self, kind: str) -> list[str]:
        """Every name of a kind that has a definition, for lists and for the mends of errors."""
        found = self._names.get(kind)
        if found is None:
            found = [n for (k, n), kept in self.admitted.items() if k == kind and kept]
            self._names[kind] = found = [*found, "noop"] if kind == "job" else found
        return found

    def _by_kind(self, kind: str) -> dict[str, Any]:
        return {n: kept[0] for (k, n), kept in self.admitted.items() if k == kind and kept}

    @cached_property
    def jobs(self) -> Mapping[str, tuple[JobDef, ...]]:
        """Every job with its variants, as parsed."""
        return {name: self.kept("job", name) for name in self.names("job")}

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        if self.below is not None:
            return self.below.pipelines
        out = {}
        for (kind, name), kept in self.admitted.items():
            if kind == "pipeline" and kept:
                made = admitted_pipeline(self, kept[0])[0]  # type: ignore[arg-type]
                if made is not None:
                    out[name] = made
        return out

    @cached_property
    def semaphores(self) -> Mapping[str, int]:
        """Maximum by name; a semaphore that is not here has 1."""
        own = {name: definition.max for name, definition in self._by_kind("semaphore").items()}
        return {**own, **self.tenant.global_semaphores}

    @cached_property
    def queues(self) -> Mapping[str, QueueDef]:
        return self._by_kind("queue")

    @cached_property
    def nodesets(self) -> Mapping[str, NodesetDef]:
        return self._by_kind("nodeset")

    @cached_property
    def secrets(self) -> Mapping[str, SecretDef]:
        return self._by_kind("secret")

    @cached_property
    def labels(self) -> Mapping[str, ProviderObject]:
        return self._by_kind("label")

    @cached_property
    def flavors(self) -> Mapping[str, ProviderObject]:
        return self._by_kind("flavor")

    @cached_property
    def images(self) -> Mapping[str, ProviderObject]:
        return self._by_kind("image")

    @cached_property
    def sections(self) -> Mapping[str, ProviderObject]:
        return self._by_kind("section")

    @cached_property
    def providers(self) -> Mapping[str, ProviderObject]:
        return self._by_kind("provider")

    # projects
    def stanzas(self, canonical_name: str) -> tuple[ProjectDef, ...]:
        """The stanzas that speak of a project: those that name it, then those whose regex matches."""
        found = self._stanza_cache.get(canonical_name)
        if found is None:
            spec = self.spec(canonical_name)
            named: list[ProjectDef] = []
            names = [canonical_name]
            if self.find_project(spec.name) == canonical_name:
                names.append(spec.name)
            for name in names:
                named.extend(self.kept("project", name))
            if len(names) > 1:
                named.sort(key=self._order)
            matching = [s for s in self.regex_stanzas if self._regex_applies(s, spec)]
            found = self._stanza_cache[canonical_name] = (*named, *matching)
        return found

    def _regex_applies(self, stanza: ProjectDef, spec: ProjectSpec) -> bool:
        if not (full_match(stanza.name, spec.name) or full_match(stanza.name, spec.canonical_name)):
            return False
        owner = self.spec(stanza.source.key[0])
        return (
            owner.trusted
            or owner.canonical_name == spec.canonical_name
            or owner.may_configure(spec.canonical_name, spec.name)
        )

    @cached_property
    def regex_stanzas(self) -> tuple[ProjectDef, ...]:
        if self.below is not None and not any(k[0] == "project-regex" for k in self.changed):
            return self.below.regex_stanzas
        found: list[Any] = []
        for (kind, _), kept in self.admitted.items():
            if kind == "project-regex":
                found.extend(kept)
        return tuple(sorted(found, key=self._order))

    def _order(self, definition: Definition) -> tuple[int, str, int]:
        return (self.roster.rank.get(definition.source.key, len(self.roster.rank)), "", definition.place.index)

    def project(self, canonical_name: str) -> ProjectFacts:
        """Queue, merge mode and default branch: the first stanza that says so decides."""
        found = self._facts_cache.get(canonical_name)
        if found is None:
            found = self._facts_cache[canonical_name] = self._facts(canonical_name)
        return found

    def _facts(self, canonical_name: str) -> ProjectFacts:
        stanzas = self.stanzas(canonical_name)
        source = self.roster.sources.get(canonical_name)
        mode = next((s.merge_mode for s in stanzas if s.merge_mode), None)
        branch = next((s.default_branch for s in stanzas if s.default_branch), None)
        return ProjectFacts(
            canonical_name,
            self.default_queue(canonical_name),
            mode or self._default_merge_mode(canonical_name),
            branch or (source.default_branch if source else "master"),
            stanzas,
        )

    def _default_merge_mode(self, canonical_name: str) -> str:
        source = self.roster.sources.get(canonical_name)
        connection = (self.connections or {}).get(self.spec(canonical_name).connection)
        own = source.default_merge_mode if source else None
        return own or (connection.default_merge_mode if connection else "merge")

    def default_queue(self, canonical_name: str) -> str | None:
        """The first queue of the stanzas, then of their templates, unless it is assigned per branch."""
        tip = self.below or self
        stanzas = tip.stanzas(canonical_name)
        names = [s.queue for s in stanzas if s.queue]
        names += [t.queue for s in stanzas for n in s.templates for t in tip.kept("project-template", n) if t.queue]
        for name in names:
            queue = tip.queues.get(name)
            if queue is None or queue.type != "branch-assigned":
                return name
        return None

    def queue_of(self, canonical_name: str, branch: str | None) -> str | None:
        """The shared queue of a project's branch. Branch-assigned ones are found by the stanzas' matchers first."""
        tip = self.below or self
        for stanza in tip.stanzas(canonical_name):
            queue = tip.queues.get(stanza.queue or "")
            if queue is None or queue.type != "branch-assigned":
                continue
            matcher = tip.stanza_matcher(stanza, canonical_name)
            if matcher is None or (branch is not None and matcher.matches_branch(branch)):
                return stanza.queue
        return tip.default_queue(canonical_name)

    # matchers
    def origin(self, canonical_name: str) -> Origin:
        spec = self.spec(canonical_name)
        count = len(self.branches(canonical_name))
        return Origin(spec.trusted, count, bool(spec.always_dynamic_branches), spec.implied_branch_matchers)

    def job_matcher(self, job: JobDef) -> Matcher | None:
        if job is NOOP:
            return None
        return job_matcher(job, self.origin(job.source.key[0]))

    def stanza_matcher(self, stanza: ProjectDef, canonical_name: str) -> Matcher | None:
        owner = stanza.source.key[0]
        itself = not stanza.is_regex and not stanza.is_template and owner == canonical_name
        return stanza_matcher(stanza, self.origin(owner), itself)

    # errors
    @cached_property
    def errors(self) -> tuple[ConfigError, ...]:
        """All complaints: of files, of definitions, of references, of projects."""
        if self.validated is not self:
            return self.validated.errors
        return tuple(self._own_errors(None, None))

    def _own_errors(self, keys: Iterable[Key] | None, sources: Iterable[SourceKey] | None) -> Iterator[ConfigError]:
        for source in self.file_errors if sources is None else sources:
            yield from self.file_errors.get(source, ())
        for key in self.raw if keys is None else keys:
            yield from self.admission_errors.get(key, ())
            yield from self.reference_errors.get(key, ())
        if keys is None:
            yield from self.project_errors

    @cached_property
    def project_errors(self) -> tuple[ConfigError, ...]:
        """Projects that could not be read, and merge modes that their source does not support."""
        found = []
        for canonical, source in self.roster.sources.items():
            spec = self.spec(canonical)
            context = SourceContext(spec.connection, spec.name, None, None, spec.trusted, canonical)  # type: ignore[arg-type]
            if source.problem:
                found.append(make_error(context, source.problem))
            connection = (self.connections or {}).get(spec.connection)
            modes = source.merge_modes or (connection.merge_modes if connection else None)
            mode = self.project(canonical).merge_mode
            if modes is not None and mode not in modes:
                short = f"The merge mode {mode} is not supported by the project {canonical}"
                found.append(make_error(context, short, mend=f"Use one of {', '.join(sorted(modes))}."))
        return tuple(found)

    def new_errors(self, parent: Layout, touched: Iterable[SourceKey]) -> tuple[ConfigError, ...]:
        """Errors (not warnings) that count against a change: not known in `parent`, or in what the change touches."""
        mine, touched = self.validated, frozenset(touched)
        theirs = parent.validated
        if mine.below is not None and mine.below in (theirs, theirs.below):
            changed = mine.changed | (theirs.changed if theirs is not mine.below else frozenset())
            units = mine.changed_sources | (theirs.changed_sources if theirs is not mine.below else frozenset())
            candidates = list(mine._own_errors(sorted(changed), sorted(units)))
            known = {e.identity for e in theirs._own_errors(sorted(changed), sorted(units))}
        else:
            candidates = list(mine.errors)
            known = {e.identity for e in parent.errors}
        return tuple(
            e
            for e in candidates
            if e.severity is Severity.ERROR and (e.identity not in known or e.source_key in touched)
        )

    # futures
    def overlay(self, changed: Mapping[SourceKey, Mapping[str, Fragment] | Sequence[Fragment]]) -> Layout:
        """The layout of a future. Keys are (canonical project, branch), values the *whole* configuration of that
        branch in reading order. What a change may not use yet is validated only: its errors appear, it has no effect.
        """
        units = {k: tuple(v.values()) if isinstance(v, Mapping) else tuple(v) for k, v in changed.items()}
        known = {k: v for k, v in units.items() if self._reads(*k)}
        used = {k: v for k, v in known.items() if not self.spec(k[0]).trusted}
        validated = self._replace(known, frozenset())
        if len(used) == len(known) and not any(k[0] in NEVER_SPECULATIVE for k in validated.changed):
            return validated
        layout = self._replace(used, NEVER_SPECULATIVE)
        layout.validated = validated
        return layout

    def _reads(self, canonical_name: str, branch: str) -> bool:
        """Whether configuration of this branch counts, in the tenant or at least in a future."""
        spec = self.roster.specs.get(canonical_name)
        if spec is None or not spec.classes:
            return False
        return spec.loads_branch(branch) or (not spec.trusted and spec.is_dynamic_branch(branch))

    def _replace(self, units: Mapping[SourceKey, tuple[Fragment, ...]], skipped: frozenset[str]) -> Layout:
        fresh: dict[Key, list[Definition]] = defaultdict(list)
        file_errors: dict[SourceKey, tuple[ConfigError, ...]] = {}
        contents: dict[SourceKey, tuple[Key, ...]] = {}
        keys: set[Key] = set()
        new_branches: dict[str, tuple[str, ...]] = dict(self.speculative_branches)
        for unit, fragments in units.items():
            definitions, errors = gather(self.spec(unit[0]), fragments)
            file_errors[unit] = errors
            for definition in definitions:
                fresh[key_of(definition)].append(definition)
            contents[unit] = tuple(dict.fromkeys(key_of(d) for d in definitions))
            keys.update(contents[unit], self.contents.get(unit, ()))
            if unit[1] not in self.branches(unit[0]):
                new_branches[unit[0]] = (*new_branches.get(unit[0], ()), unit[1])
        keys = {k for k in keys if k[0] not in skipped}
        raw = {}
        for key in keys:
            old = [d for d in self.raw.get(key, ()) if d.source.key not in units]
            raw[key] = tuple(sorted([*old, *fresh.get(key, ())], key=self._rank))
        layout = Layout(
            self.tenant,
            self.connections,
            self.roster,
            Layered(self.raw, raw),
            {},
            {},
            Layered(self.file_errors, file_errors),
            Layered(self.contents, contents),
        )
        layout.below, layout.speculative_branches = self, new_branches
        layout.changed_sources = frozenset(units)
        layout._decide_again(keys)
        return layout

    def _rank(self, definition: Definition) -> int:
        return self.roster.rank.get(definition.source.key, len(self.roster.rank))

    def _decide_again(self, keys: set[Key]) -> None:
        below = self.below
        assert below is not None
        kept, errors = {}, {}
        for key in keys:
            kept[key], errors[key] = admit(self, key, self.raw.get(key, ()))
        self.admitted = Layered(below.admitted, kept)
        self.admission_errors = Layered(below.admission_errors, errors)
        affected = set(keys)
        for key in keys:
            affected |= below.referrers.get(key, frozenset())
        self.reference_errors = Layered(below.reference_errors, _reference_errors(self, affected))
        added: dict[Key, set[Key]] = defaultdict(set)
        for key in keys:
            for definition in self.admitted.get(key, ()):
                for used in references_of(definition, self.tenant.default_parent):
                    added[used].add(key)
        merged = {used: below.referrers.get(used, frozenset()) | by for used, by in added.items()}
        self.referrers = Layered(below.referrers, merged)
        self.changed = frozenset(affected)

    # freezing
    def freeze(self, pipeline: str, subjects: Sequence[Subject], before: Layout | None = None) -> FrozenGraph:
        """The job graph of an item (one subject, or all of a cycle).

        `before` is the layout without the item's own configuration changes (None: the item changes none): a job that
        differs there runs in spite of its file matchers. Errors are values: `graph.error`.
        """
        return freeze_graph(self, pipeline, subjects, before)

    def freeze_jobs(
        self,
        project: str,
        pipeline: str,
        kind: RefKind,
        branch: str | None = None,
        files: Sequence[str] | None = None,
        ref: str = "",
        before: Layout | None = None,
        containing_branches: tuple[str, ...] = (),
    ) -> FrozenGraph:
        """freeze() for one subject; `project` may be a short name."""
        known = None if files is None else tuple(files)
        subject = Subject(self.resolve(project), kind, branch, ref, known, containing_branches)
        return self.freeze(pipeline, (subject,), before)


def build_layout(
    tenant: TenantSpec, sources: Sequence[Source], connections: Mapping[str, ConnectionSpec] | None = None
) -> Layout:
    """The layout of a tenant from its sources, in the tenant's order of projects.

    O(definitions). Without `connections` the names of connections in pipelines are taken as they are.
    """
    roster = Roster(tenant, sources)
    raw: dict[Key, list[Definition]] = {}
    file_errors: dict[SourceKey, tuple[ConfigError, ...]] = {}
    contents: dict[SourceKey, tuple[Key, ...]] = {}
    for spec in tenant.projects:
        source = roster.sources.get(spec.canonical_name)
        for branch in source.branches if source else ():
            assert source is not None
            definitions, errors = gather(spec, source.fragments.get(branch, ()))
            if errors:
                file_errors[(spec.canonical_name, branch)] = errors
            for definition in definitions:
                raw.setdefault(key_of(definition), []).append(definition)
            contents[(spec.canonical_name, branch)] = tuple(dict.fromkeys(key_of(d) for d in definitions))
    frozen_raw = {k: tuple(v) for k, v in raw.items()}
    layout = Layout(tenant, connections, roster, frozen_raw, {}, {}, file_errors, contents)
    kept: dict[Key, tuple[Definition, ...]] = {}
    problems: dict[Key, tuple[ConfigError, ...]] = {}
    for key, definitions_of_key in frozen_raw.items():
        kept[key], errors = admit(layout, key, definitions_of_key)
        if errors:
            problems[key] = errors
    layout.admitted, layout.admission_errors = kept, problems
    layout.reference_errors = {k: v for k, v in _reference_errors(layout, kept).items() if v}
    referrers: dict[Key, set[Key]] = defaultdict(set)
    for key, found in kept.items():
        for definition in found:
            for used in references_of(definition, tenant.default_parent):
                referrers[used].add(key)
    layout.referrers = {k: frozenset(v) for k, v in referrers.items()}
    return layout


def _reference_errors(layout: Layout, keys: Iterable[Key]) -> dict[Key, tuple[ConfigError, ...]]:
    out = {}
    for key in keys:
        found = [check_references(layout, d) for d in layout.admitted.get(key, ())]
        out[key] = tuple(e for e in found if e is not None)
    return out
