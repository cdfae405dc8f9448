"""The pass that serves requests, the most urgent first.

A set is launched whole or not at all. A request that does not fit anywhere reserves what it needs where it lacks least,
so that smaller or later ones do not starve it; a set that lost a node keeps the rest while its provider can mend it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from trunkline.pool.actions import Accept, Assign, Create, DeclineBy, Fail, Fulfil, Release
from trunkline.pool.board import Board, shape, waiting
from trunkline.pool.feasible import launch_hindrance, needs_of
from trunkline.pool.model import LabelSpec, NodeState, ProviderSpec, Request, RequestState
from trunkline.pool.quota import Amount, account_keys, amount
from trunkline.pool.score import score


class Offering(Struct, frozen=True):
    """How one provider would fill the open places of a request now."""

    spec: ProviderSpec
    spares: tuple[tuple[int, str], ...]  # (place, node)
    create: tuple[int, ...]  # places for which nodes are made
    hindrance: str = ""  # why not now
    lacks: Mapping[tuple[str, ...], Amount] = {}  # accounts without room, and how much is missing there


def serve(board: Board) -> None:
    for request in waiting(board):
        if request.state is RequestState.accepted:
            mend(board, request)
        if board.requests[request.id].state is RequestState.requested:
            place(board, board.requests[request.id])


def mend(board: Board, request: Request) -> None:
    """Go on with an accepted request: answer it, fill its gaps, or give it up here."""
    spec = board.specs.get((request.tenant, request.provider or ""))
    if spec is None:
        return board.give_up(request.id, "the provider is not configured any more")
    verdict = next(v for s, v in board.judged(request) if s is spec)
    if verdict.never:
        board.add(DeclineBy(request.id, spec.canonical_name, verdict.never))
        return board.release_nodes(request.id)
    if verdict.later:
        return board.give_up(request.id, verdict.later)
    places, open_places = _places(board, request)
    if not open_places:
        if all(board.nodes[node].state is NodeState.ready for node in places.values()):
            board.add(Fulfil(request.id, tuple(places[i] for i in range(len(request.labels)))))
        return None
    if not places:
        return board.give_up(request.id, "nothing of it is left there")
    offering = offering_of(board, request, spec, open_places)
    if not offering.hindrance and not offering.lacks:
        _take(board, request, offering)
    elif offering.lacks and not _is_first_in_line(board, offering):
        board.give_up(request.id, "somebody more urgent waits for the room")
    else:
        _reserve(board, request, offering)
    return None


def place(board: Board, request: Request) -> None:
    """Find a provider for a request that has none."""
    board.release_nodes(request.id)
    declined = {d.provider for d in request.declined_by}
    open_to = []
    for spec, verdict in board.judged(request):
        if spec.canonical_name in declined:
            continue
        if verdict.never:
            board.add(DeclineBy(request.id, spec.canonical_name, verdict.never))
        else:
            open_to.append((spec, verdict))
    if not open_to:
        return board.add(Fail(request.id, _why_failed(board.requests[request.id])))
    key = (shape(request), "full")
    if key in board.blocked:
        return None
    places = tuple(range(len(request.labels)))
    offerings = [offering_of(board, request, spec, places) for spec, verdict in open_to if not verdict.later]
    fitting = [o for o in offerings if not o.hindrance and not o.lacks]
    if fitting:
        best = min(fitting, key=lambda o: (_score(board, request, o), o.spec.canonical_name))
        board.add(Accept(request.id, best.spec.canonical_name))
        _take(board, board.requests[request.id], best)
        return _answer_if_ready(board, request.id)
    board.blocked.add(key)
    if offerings:
        _reserve(board, request, min(offerings, key=_lack))
    return None


def _places(board: Board, request: Request) -> tuple[dict[int, str], tuple[int, ...]]:
    """Which of its nodes stands for which label, and the places that none stands for. Nodes too many are released."""
    left = sorted(board.mine[request.id], key=lambda n: board.nodes[n].state is not NodeState.ready)
    spec = board.specs[request.tenant, request.provider or ""]
    places: dict[int, str] = {}
    for serves in (_is_of, _may_stand_for):  # exact labels first, so that an alias takes nobody's place
        for i, wanted in enumerate(request.labels):
            found = next((n for n in left if i not in places and serves(spec, board.nodes[n].label, wanted)), None)
            if found is not None:
                places[i] = found
                left.remove(found)
    for node in left:
        board.add(Release(node))
    return places, tuple(i for i in range(len(request.labels)) if i not in places)


def _is_of(spec: ProviderSpec, label: str, wanted: str) -> bool:
    return label == wanted


def _may_stand_for(spec: ProviderSpec, label: str, wanted: str) -> bool:
    made = spec.label(label)
    return made is not None and wanted in made.aliases


def offering_of(board: Board, request: Request, spec: ProviderSpec, places: tuple[int, ...]) -> Offering:
    """How the provider would fill these places of the request now."""
    spares: list[tuple[int, str]] = []
    create: list[int] = []
    taken: set[str] = set()
    for i in places:
        found = next((n for n in board.spares(spec, request.labels[i]) if n not in taken), None)
        if found is None:
            create.append(i)
        else:
            taken.add(found)
            spares.append((i, found))
    hindrance, lacks = "", {}
    if create and spec.driver == "static":
        hindrance = "all its nodes are in use"
    elif create:
        labels = _labels(request, spec, create)
        region = board.world.regions[spec.region_key]
        hindrance = launch_hindrance(labels, region, board.coming[spec.region_key], board.now)
        lacks = _lacks(board, spec, labels)
    return Offering(spec, tuple(spares), tuple(create), hindrance, lacks)


def _labels(request: Request, spec: ProviderSpec, places: list[int] | tuple[int, ...]) -> list[LabelSpec]:
    return [label for i in places if (label := spec.label(request.labels[i]))]


def _lacks(board: Board, spec: ProviderSpec, labels: list[LabelSpec]) -> dict[tuple[str, ...], Amount]:
    needs = _needs_by_account(board, spec, labels)
    return {key: short for key, need in needs.items() if (short := board.ledger.shortage(key, need))}


def _needs_by_account(board: Board, spec: ProviderSpec, labels: list[LabelSpec]) -> dict[tuple[str, ...], Amount]:
    """What a set takes from each account: a label's account is charged with its own nodes only."""
    cached = board.needs.get(key := (spec.tenant, spec.canonical_name, tuple(label.name for label in labels)))
    if cached is not None:
        return cached
    offer = board.world.regions[spec.region_key].offer
    needs: dict[tuple[str, ...], Amount] = {}
    for label in labels:
        one = amount(needs_of(label, offer))
        for account in account_keys(spec.canonical_name, spec.cloud, spec.region, spec.tenant, label.name):
            needs[account] = [a + b for a, b in zip(needs[account], one, strict=True)] if account in needs else one
    board.needs[key] = needs
    return needs


def _take(board: Board, request: Request, offering: Offering) -> None:
    for _, node in offering.spares:
        board.add(Assign(node, request.id))
    for i in offering.create:
        label = offering.spec.label(request.labels[i])
        assert label is not None
        board.add(Create(board.new_node(offering.spec, label, request, i)))


def _answer_if_ready(board: Board, request_id: str) -> None:
    request = board.requests[request_id]
    places, open_places = _places(board, request)
    if not open_places and all(board.nodes[node].state is NodeState.ready for node in places.values()):
        board.add(Fulfil(request.id, tuple(places[i] for i in range(len(request.labels)))))


def _reserve(board: Board, request: Request, offering: Offering) -> None:
    """Keep what the request needs from those after it, and say what it lacks."""
    board.claimed.update(node for _, node in offering.spares)
    if not offering.create or offering.spec.driver == "static":
        return
    if offering.lacks and not any(key in board.pressure for key in offering.lacks):
        board.wants.append(offering.lacks)
    board.pressure.update(offering.lacks)
    labels = _labels(request, offering.spec, offering.create)
    for key, need in _needs_by_account(board, offering.spec, labels).items():
        board.ledger.charge([key], need)


def _is_first_in_line(board: Board, offering: Offering) -> bool:
    """Whether nobody before in the order waits for room in the same account."""
    return not any(key in board.pressure for key in offering.lacks)


def _lack(offering: Offering) -> tuple[bool, float, str]:
    """Least first: how much of the set must still be found, and where."""
    lacking = max((sum(short) for short in offering.lacks.values()), default=0.0)
    return bool(offering.hindrance), lacking, offering.spec.canonical_name


def _score(board: Board, request: Request, offering: Offering) -> float:
    spec = offering.spec
    keys = account_keys(spec.canonical_name, spec.cloud, spec.region, spec.tenant, "")[:2]
    still_coming = sum(board.nodes[node].state is not NodeState.ready for _, node in offering.spares)
    return score(
        request,
        spec,
        board.region(spec),
        to_create=len(offering.create),
        still_coming=still_coming,
        load=board.ledger.load(keys),
    )


def _why_failed(request: Request) -> str:
    if not request.declined_by:
        return "no provider is configured"
    return "; ".join(f"{d.provider}: {d.reason}" for d in request.declined_by)
