"""What a plan can ask for. Each names its instance and its reason, so that a plan reads as an explanation."""

from __future__ import annotations

import msgspec

from .model import InstanceId, Leaving, Status


class Place(msgspec.Struct, frozen=True, tag="place"):
    """Ask the pool for a server at this provider."""

    instance: InstanceId
    provider: str
    label: str
    jurisdictions: tuple[str, ...]
    reason: str


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """Stop counting on an instance; it is removed when its replacement serves (at once if the law forbids it)."""

    instance: InstanceId
    why: Leaving
    reason: str


class Return(msgspec.Struct, frozen=True, tag="return"):
    """Count on an instance again that was thought lost."""

    instance: InstanceId
    reason: str


class DeployBatch(msgspec.Struct, frozen=True, tag="deploy"):
    """Run the deploy job for these instances at this commit. ``deploy`` names it before it has a build."""

    deploy: str
    instances: tuple[InstanceId, ...]
    commit: str
    reason: str


class Publish(msgspec.Struct, frozen=True, tag="publish"):
    instance: InstanceId
    reason: str


class Unpublish(msgspec.Struct, frozen=True, tag="unpublish"):
    instance: InstanceId
    reason: str


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Take it out of the published set and wait for clients to leave."""

    instance: InstanceId
    reason: str


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """Give the server (or the request for it) back to the pool, for deletion."""

    instance: InstanceId
    reason: str


class Conclude(msgspec.Struct, frozen=True, tag="conclude"):
    """The rollout of a commit is over: it is the good one now, or it is given up for the last good one."""

    commit: str
    good: bool
    reason: str


Action = Place | Leave | Return | DeployBatch | Publish | Unpublish | Drain | Delete | Conclude


class Plan(msgspec.Struct, frozen=True):
    """What to do now, and how things stand."""

    actions: tuple[Action, ...]
    status: Status
