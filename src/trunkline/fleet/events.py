"""What can happen to an application. Stale or unknown ids change nothing: any event may come twice."""

from __future__ import annotations

import msgspec

from .model import Application, InstanceId


class Landed(msgspec.Struct, frozen=True, tag="landed"):
    """A commit passed its gate and landed; the application file as it stands there (None: it is gone)."""

    project: str
    branch: str
    commit: str
    application: Application | None
    change: str | None = None


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """The pool has taken the request for an instance under this id."""

    instance: InstanceId
    request: str


class NodeReady(msgspec.Struct, frozen=True, tag="node-ready"):
    """The server of a request is there."""

    request: str
    node: str
    address: str


class NodeFailed(msgspec.Struct, frozen=True, tag="node-failed"):
    """No provider allowed by the request could make the server."""

    request: str
    reason: str


class NodeGone(msgspec.Struct, frozen=True, tag="node-gone"):
    """The server of an instance is deleted and its row closed."""

    instance: InstanceId


class Submitted(msgspec.Struct, frozen=True, tag="submitted"):
    """A deploy that the plan named has become this build."""

    deploy: str
    build: str


class BuildCompleted(msgspec.Struct, frozen=True, tag="build-completed"):
    build: str
    result: str


Event = Landed | Asked | NodeReady | NodeFailed | NodeGone | Submitted | BuildCompleted
