"""The job graph of an item: freeze each job for each subject, then choose, deduplicate and connect."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.config.collect import Collector, ProjectJobs, entry_matches, overrides_of, project_jobs
from trunkline.config.errors import Refused, make_error
from trunkline.config.frozen import FrozenGraph, FrozenJob, FrozenNodeset
from trunkline.config.job_state import JobState
from trunkline.config.merging import deep_merge
from trunkline.config.nodesets import alternatives_of
from trunkline.config.pipeline import Pipeline
from trunkline.config.regex import Regex, matches_any
from trunkline.config.settle import Candidate, Failed, settle
from trunkline.config.source import RefKind, Subject

if TYPE_CHECKING:
    from trunkline.config.layout import Layout

DEFAULT_ANSIBLE_VERSION = "11"
COMMIT_MESSAGE = "/COMMIT_MSG"
MOST_CACHED = 20_000


def freeze_graph(layout: Layout, pipeline_name: str, subjects: Sequence[Subject], before: Layout | None) -> FrozenGraph:
    """See Layout.freeze."""
    pipeline = layout.pipelines.get(pipeline_name)
    if pipeline is None:
        return FrozenGraph(pipeline=pipeline_name, error=make_error(None, f'There is no pipeline "{pipeline_name}"'))
    for subject in subjects:
        unknown = layout.unknown_project(subject.project)
        if unknown is not None:
            return FrozenGraph(pipeline=pipeline_name, error=make_error(None, unknown, name="Project Not Found"))
    notes: list[str] = []
    candidates: list[Candidate] = []
    debug, fail_fast, configured = False, None, False
    try:
        for subject in subjects:
            listed = _listed(layout, subject, pipeline_name)
            notes.extend(listed.notes)
            configured |= listed.found
            debug |= listed.debug
            fail_fast = listed.fail_fast if listed.fail_fast is not None else fail_fast
            candidates.extend(_candidates(layout, pipeline, subject, listed, before, notes))
        jobs = settle(layout, candidates, notes)
    except Failed as failed:
        return FrozenGraph(
            pipeline=pipeline_name,
            wants_debug=debug,
            debug=tuple(notes),
            has_pipeline_config=configured,
            error=failed.error,
        )
    return FrozenGraph(
        pipeline=pipeline_name,
        jobs=jobs,
        fail_fast=bool(fail_fast),
        wants_debug=debug,
        debug=tuple(notes),
        has_pipeline_config=configured,
    )


def _listed(layout: Layout, subject: Subject, pipeline: str) -> ProjectJobs:
    try:
        return project_jobs(layout, subject, pipeline)
    except Refused as problem:
        raise Failed(make_error(None, problem.short, name=problem.name, mend=problem.mend)) from None


def _candidates(
    layout: Layout, pipeline: Pipeline, subject: Subject, listed: ProjectJobs, before: Layout | None, notes: list[str]
) -> list[Candidate]:
    out = []
    for name in listed.jobs:
        candidate = _candidate(layout, pipeline, subject, listed, name, notes)
        if candidate is None:
            continue
        image = candidate.job.image_build_name
        if image and subject.image_names is not None and image not in subject.image_names:
            notes.append(f'Job "{name}": builds an image that is not asked for')
            continue
        candidate.matches = _files_match(candidate, subject, notes) or (
            candidate.match_on_updates and _is_updated(candidate, pipeline.name, before, notes)
        )
        out.append(candidate)
    return out


def _candidate(
    layout: Layout, pipeline: Pipeline, subject: Subject, listed: ProjectJobs, name: str, notes: list[str]
) -> Candidate | None:
    key = (pipeline.name, subject.project, name, subject.kind, subject.branch, subject.ref, subject.containing_branches)
    if not subject.parameters and key in layout._job_cache:
        found, said = layout._job_cache[key]
    else:
        said = []
        try:
            found = _freeze_job(layout, pipeline, subject, listed, name, said)
        except Refused as problem:
            entry, stanza = listed.jobs[name][0]
            found = Failed(stanza.place.error(problem.short, path=entry.path, name=problem.name, mend=problem.mend))
        if not subject.parameters:
            if len(layout._job_cache) >= MOST_CACHED:
                layout._job_cache.clear()
            layout._job_cache[key] = (found, said)
    notes.extend(said)
    if isinstance(found, Failed):
        raise Failed(found.error)
    if found is None:
        return None
    assert isinstance(found, Candidate)
    job = msgspec.structs.replace(found.job, refs=(subject.key,)) if subject.key else found.job
    return msgspec.structs.replace(found, job=job, subject=subject)


def _freeze_job(
    layout: Layout, pipeline: Pipeline, subject: Subject, listed: ProjectJobs, name: str, notes: list[str]
) -> Candidate | None:
    entries = [(e, s) for e, s in listed.jobs[name] if entry_matches(e, subject)]
    overrides: dict[str, str] = {}
    for entry, _ in entries:
        overrides.update(overrides_of(layout, entry.job))
    collector = Collector(layout, subject)
    ran = collector.collect(name, overrides)
    notes.extend(collector.notes)
    if not ran or not collector.found:
        notes.append(f'Job "{name}": no definition matches')
        return None
    state = JobState(layout)
    for variant, label in collector.found:
        state.apply(variant, label)
    state.name = name
    below = deep_merge(listed.variables, state.get("vars", {}))
    state.values["vars"] = deep_merge(_parameters(listed, subject), below) if subject.parameters else below
    if state.get("ansible-version") is None:
        state.values["ansible-version"] = layout.tenant.default_ansible_version or DEFAULT_ANSIBLE_VERSION
    if not entries:
        notes.append(f'Job "{name}": no entry of the project pipeline matches')
        return None
    for index, (entry, stanza) in enumerate(entries):
        if stanza.source.trusted:
            state.allowed_projects = None
        if index == 0 and state.get("type") == "reporter" and not layout.spec(stanza.source.key[0]).allow_reporter_jobs:
            raise Refused(
                f'The project {stanza.source.project} may not run the reporter job "{name}"',
                name="Reporter Job Not Permitted",
            )
        state.apply(entry.job)
    entry, stanza = entries[0]
    _check_image(layout, state, stanza.source.key[0])
    job = freeze_state(layout, state, subject)
    return Candidate(
        job,
        subject,
        stanza.place,
        entry.path,
        state.get("files", ()),
        state.get("irrelevant-files", ()),
        state.get("match-on-config-updates", True),
        _late_problem(layout, pipeline, subject, state),
    )


def _check_image(layout: Layout, state: JobState, project: str) -> None:
    image = state.get("image-build-name")
    if image is None:
        return
    found = layout.kept("image", image)
    if not found:
        raise Refused(f'The job "{state.name}" builds the image "{image}", which is not defined')
    if found[0].source.key[0] != project:
        raise Refused(f'The job "{state.name}" builds the image "{image}", which belongs to {found[0].source.project}')


def _parameters(listed: ProjectJobs, subject: Subject) -> dict[str, Any]:
    """What was given on enqueue, for declared parameters; values outside a selection are dropped."""
    out: dict[str, Any] = {}
    for name, value in subject.parameters.items():
        declared = listed.parameters.get(name)
        if declared is None:
            continue
        if declared.type == "selection" and value not in declared.values:
            continue
        if declared.type == "multiple-selection" and isinstance(value, list):
            value = [v for v in value if v in declared.values]
        out[name] = value
    return out


def _late_problem(layout: Layout, pipeline: Pipeline, subject: Subject, state: JobState) -> str | None:
    """What counts only if the job runs."""
    spec = layout.spec(subject.project)
    if state.abstract:
        return f'The job "{state.name}" is abstract and may not be run directly'
    if state.allowed_projects is not None and spec.name not in state.allowed_projects:
        return f'The project {spec.name} is not allowed to run the job "{state.name}"'
    if state.post_review and not pipeline.post_review:
        return f'The pre-review pipeline {pipeline.name} does not allow the post-review job "{state.name}"'
    if not state.run and state.name != "noop":
        return f'The job "{state.name}" has no run playbook'
    return None


def freeze_state(layout: Layout, state: JobState, subject: Subject) -> FrozenJob:
    """A FrozenJob of what stands."""
    alternatives = alternatives_of(layout, state.nodeset) if state.nodeset is not None else (FrozenNodeset(),)
    most = layout.tenant.max_nodes_per_job
    for nodeset in alternatives:
        if most != -1 and len(nodeset.nodes) > most:
            raise Refused(f'The job "{state.name}" uses {len(nodeset.nodes)} nodes; the tenant allows {most}')
    timeout, pre = state.get("timeout"), state.get("pre-timeout")
    checkout = state.get("workspace-checkout", True)
    values = state.get
    job = FrozenJob(
        name=state.name,
        project=subject.project,
        type=values("type", "regular"),
        description=state.description,
        voting=values("voting", True),
        attempts=values("attempts", 3),
        hold_following_changes=values("hold-following-changes", False),
        dependencies=values("dependencies", ()),
        semaphores=state.semaphores,
        tags=values("tags", ()),
        provides=values("provides", ()),
        requires=values("requires", ()),
        deduplicate=values("deduplicate", "auto"),
        final=state.final,
        protected=state.protected,
        post_review=state.post_review,
        success_message=values("success-message"),
        failure_message=values("failure-message"),
        timeout=timeout,
        pre_timeout=min(pre, timeout) if pre is not None and timeout is not None else pre,
        post_timeout=values("post-timeout"),
        override_branch=values("override-branch"),
        override_checkout=values("override-checkout"),
        ansible_version=values("ansible-version"),
        ansible_split_streams=values("ansible-split-streams"),
        workspace_scheme=values("workspace-scheme", "golang"),
        workspace_checkout=not alternatives[0].nodes if checkout == "auto" else checkout,
        failure_output=values("failure-output", ()),
        secret_exposure=values("secret-exposure", "ignore"),
        image_build_name=values("image-build-name"),
        vars=values("vars", {}),
        extra_vars=values("extra-vars", {}),
        host_vars=values("host-vars", {}),
        group_vars=values("group-vars", {}),
        include_vars=state.include_vars,
        nodeset=alternatives[0],
        nodeset_alternatives=alternatives,
        nodeset_name=state.nodeset if isinstance(state.nodeset, str) else "",
        required_projects=tuple(state.required.values()),
        include_projects=state.include_projects,
        exclude_projects=state.exclude_projects,
        allowed_projects=None if state.allowed_projects is None else tuple(sorted(state.allowed_projects)),
        pre_playbooks=state.pre,
        playbooks=state.run,
        post_playbooks=_post_with_cleanup(state),
        cleanup_playbooks=(),
        applied=tuple(state.applied),
    )
    return msgspec.structs.replace(job, deduplicate_key=_content_key(job))


def _post_with_cleanup(state: JobState) -> tuple[Any, ...]:
    """Old cleanup playbooks run among the post playbooks, after those of their own nesting level."""
    if not state.cleanup:
        return state.post
    return tuple(sorted((*state.post, *state.cleanup), key=lambda p: -p.nesting_level))


def _content_key(job: FrozenJob) -> str:
    """A hash of all that the job does; not where it was defined, nor for which subject."""
    plain = msgspec.structs.replace(
        job, description=None, applied=(), refs=(), project="", deduplicate_key="", nodeset_name=""
    )
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


def _files_match(candidate: Candidate, subject: Subject, notes: list[str]) -> bool:
    """Whether the file matchers let a job run. Files that are not known, or none, match."""
    if subject.kind is not RefKind.CHANGE or subject.files is None:
        return True
    files = [f for f in subject.files if f != COMMIT_MESSAGE]
    if not files:
        return True
    if candidate.files and not any(matches_any(candidate.files, f) for f in files):
        notes.append(f'Job "{candidate.job.name}": no file matches {_listed_regexes(candidate.files)}')
        return False
    if candidate.irrelevant and all(matches_any(candidate.irrelevant, f) for f in files):
        notes.append(f'Job "{candidate.job.name}": all files are irrelevant by {_listed_regexes(candidate.irrelevant)}')
        return False
    return True


def _listed_regexes(regexes: Sequence[Regex]) -> str:
    return ", ".join(map(str, regexes))


def _is_updated(candidate: Candidate, pipeline: str, before: Layout | None, notes: list[str]) -> bool:
    """Whether the change alters the job itself: its playbooks, its variables' files, or its definition."""
    job, subject = candidate.job, candidate.subject
    changed = set(subject.files or ())
    for playbook in (*job.pre_playbooks, *job.playbooks, *job.post_playbooks, *job.cleanup_playbooks):
        if playbook.canonical_name == subject.project and playbook.path in changed:
            notes.append(f'Job "{job.name}": runs because its playbook {playbook.path} is changed')
            return True
    for include in job.include_vars:
        if include.canonical_name in (None, subject.project) and include.name in changed:
            notes.append(f'Job "{job.name}": runs because its variables in {include.name} are changed')
            return True
    if before is None:
        return False
    known = before.pipelines.get(pipeline)
    if known is None:
        return False
    try:
        listed = project_jobs(before, subject, pipeline)
        old = _candidate(before, known, subject, listed, job.name, []) if job.name in listed.jobs else None
    except (Refused, Failed):
        return False
    if old is None or old.job.deduplicate_key != job.deduplicate_key:
        notes.append(f'Job "{job.name}": runs because its definition is changed')
        return True
    return False
