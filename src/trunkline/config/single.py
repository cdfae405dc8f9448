"""One job frozen by its name, outside of any pipeline: for deploys, which no event triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.config.collect import Collector
from trunkline.config.errors import Refused
from trunkline.config.frozen import FrozenJob
from trunkline.config.graph import DEFAULT_ANSIBLE_VERSION, freeze_state
from trunkline.config.job_state import JobState
from trunkline.config.source import Subject

if TYPE_CHECKING:
    from trunkline.config.layout import Layout


def freeze_single(layout: Layout, name: str, subject: Subject) -> FrozenJob:
    """The job `name` as it is for `subject`, in a post-review place. Raises Refused with the reason."""
    collector = Collector(layout, subject)
    if not collector.collect(name, {}) or not collector.found:
        raise Refused(f'No definition of the job "{name}" matches branch {subject.branch}', name="Job Not Defined")
    state = JobState(layout)
    for variant, label in collector.found:
        state.apply(variant, label)
    state.name = name
    if state.get("ansible-version") is None:
        state.values["ansible-version"] = layout.tenant.default_ansible_version or DEFAULT_ANSIBLE_VERSION
    project = layout.spec(subject.project).name
    if state.abstract:
        raise Refused(f'The job "{name}" is abstract and may not be run directly')
    if state.allowed_projects is not None and project not in state.allowed_projects:
        raise Refused(f'The project {project} is not allowed to run the job "{name}"')
    if not state.run:
        raise Refused(f'The job "{name}" has no run playbook')
    return msgspec.structs.replace(freeze_state(layout, state, subject), refs=(subject.key,))
