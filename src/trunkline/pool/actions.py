"""What a plan consists of, and what each action does to the world.

`apply` is what the launcher does in tables, on values: simulation, properties and the planner's own look-ahead use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trunkline.pool.model import Decline, Node, NodeState, Request, RequestState, World


class Accept(Struct, frozen=True, tag=True):
    """The provider works on the request."""

    request: str
    provider: str


class Unaccept(Struct, frozen=True, tag=True):
    """The provider works on it no more; its nodes go back to the pool (Release actions follow)."""

    request: str
    reason: str


class DeclineBy(Struct, frozen=True, tag=True):
    """The provider will never serve the request."""

    request: str
    provider: str
    reason: str


class Create(Struct, frozen=True, tag=True):
    node: Node


class Assign(Struct, frozen=True, tag=True):
    node: str
    request: str


class Release(Struct, frozen=True, tag=True):
    """Nothing ran on the node: any request of its tenant may have it."""

    node: str


class Fulfil(Struct, frozen=True, tag=True):
    request: str
    nodes: tuple[str, ...]


class Fail(Struct, frozen=True, tag=True):
    """Every provider declined: the requester gets NODE_FAILURE."""

    request: str
    reason: str


class WriteOff(Struct, frozen=True, tag=True):
    """Delete a failed node; if `request` is given, count the failure against its provider."""

    node: str
    request: str | None
    provider: str


class Delete(Struct, frozen=True, tag=True):
    node: str
    reason: str


class Recycle(Struct, frozen=True, tag=True):
    """A used node of a label that allows it is ready again."""

    node: str


Action = Accept | Unaccept | DeclineBy | Create | Assign | Release | Fulfil | Fail | WriteOff | Delete | Recycle


class Draft:
    """A world that is being changed: dicts of its own, values shared."""

    def __init__(self, world: World, now: float) -> None:
        self.requests = dict(world.requests)
        self.nodes = dict(world.nodes)
        self.now = now
        self.world = world

    def done(self) -> World:
        return replace(self.world, requests=self.requests, nodes=self.nodes)

    def move(self, node_id: str, state: NodeState, **changes: Any) -> None:
        self.nodes[node_id] = replace(self.nodes[node_id], state=state, state_time=self.now, **changes)

    def change(self, request_id: str, **changes: Any) -> None:
        self.requests[request_id] = replace(self.requests[request_id], **changes)


def apply(world: World, actions: Iterable[Action], now: float) -> World:
    """The world after these actions. Actions about what is not there any more change nothing."""
    draft = Draft(world, now)
    for action in actions:
        carry_out(draft, action)
    return draft.done()


def carry_out(draft: Draft, action: Action) -> None:
    """One action on a draft."""
    _HANDLERS[type(action)](draft, action)


def _accept(draft: Draft, action: Accept) -> None:
    if _state(draft, action.request) is RequestState.requested:
        draft.change(action.request, state=RequestState.accepted, provider=action.provider)


def _unaccept(draft: Draft, action: Unaccept) -> None:
    if _state(draft, action.request) is RequestState.accepted:
        draft.change(action.request, state=RequestState.requested, provider=None)


def _decline(draft: Draft, action: DeclineBy) -> None:
    request = draft.requests.get(action.request)
    if request is None or not is_waiting(request) or any(d.provider == action.provider for d in request.declined_by):
        return
    at_work = request.provider == action.provider
    draft.change(
        action.request,
        declined_by=(*request.declined_by, Decline(action.provider, action.reason)),
        provider=None if at_work else request.provider,
        state=RequestState.requested if at_work else request.state,
    )


def _create(draft: Draft, action: Create) -> None:
    draft.nodes.setdefault(action.node.id, action.node)


def _assign(draft: Draft, action: Assign) -> None:
    node, request = draft.nodes.get(action.node), draft.requests.get(action.request)
    if node and request and node.request_id is None and node.tenant == request.tenant and is_waiting(request):
        draft.nodes[node.id] = replace(node, request_id=request.id, keep=request.keep)


def _release(draft: Draft, action: Release) -> None:
    node = draft.nodes.get(action.node)
    if node and (node.is_coming or node.state is NodeState.ready):
        draft.nodes[node.id] = replace(node, request_id=None, keep=False)


def _fulfil(draft: Draft, action: Fulfil) -> None:
    nodes = [draft.nodes.get(id) for id in action.nodes]
    whole = all(n and n.state is NodeState.ready and n.request_id == action.request for n in nodes)
    if whole and action.request in draft.requests and is_waiting(draft.requests[action.request]):
        draft.change(action.request, state=RequestState.fulfilled, node_ids=action.nodes)


def _fail(draft: Draft, action: Fail) -> None:
    if action.request in draft.requests and is_waiting(draft.requests[action.request]):
        draft.change(action.request, state=RequestState.failed, provider=None)


def _write_off(draft: Draft, action: WriteOff) -> None:
    node = draft.nodes.get(action.node)
    if node is None or node.state is not NodeState.failed:
        return
    draft.move(node.id, NodeState.deleting)
    if action.request in draft.requests:
        failures = draft.requests[action.request].failures
        draft.change(action.request, failures={**failures, action.provider: failures.get(action.provider, 0) + 1})


def _delete(draft: Draft, action: Delete) -> None:
    node = draft.nodes.get(action.node)
    if node and node.state is not NodeState.deleting:
        draft.move(node.id, NodeState.deleting, comment=action.reason)


def _recycle(draft: Draft, action: Recycle) -> None:
    node = draft.nodes.get(action.node)
    if node and node.state is NodeState.used:
        draft.move(node.id, NodeState.ready, request_id=None)


def is_waiting(request: Request) -> bool:
    return request.state in (RequestState.requested, RequestState.accepted)


def _state(draft: Draft, request_id: str) -> RequestState | None:
    request = draft.requests.get(request_id)
    return request.state if request else None


_HANDLERS: dict[type, Callable[[Draft, Any], None]] = {
    Accept: _accept,
    Unaccept: _unaccept,
    DeclineBy: _decline,
    Create: _create,
    Assign: _assign,
    Release: _release,
    Fulfil: _fulfil,
    Fail: _fail,
    WriteOff: _write_off,
    Delete: _delete,
    Recycle: _recycle,
}
