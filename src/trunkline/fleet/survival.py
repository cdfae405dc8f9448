"""What an application survives at this moment, by trying every loss on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from . import placement
from .judge import is_serving, keepers
from .model import AppState, Instance, InstanceState, RegionHealth, RegionView, Seen, Survive


def survives(state: AppState, seen: Seen, now: float) -> Survive:
    """The largest loss of one domain that leaves min-healthy serving, or replaceable within quota known to be there."""
    serving = [i for i in keepers(state) if is_serving(i)]
    if len(serving) < state.application.must_serve:
        return Survive.NONE  # it has lost too much already
    regions = [r for r in seen.regions if r.health is not RegionHealth.DOWN]
    best = Survive.NONE
    for kind, domain in _DOMAINS:
        lost = {domain(i) for i in serving}
        if not serving or not all(
            _is_survived(state, serving, regions, seen.regions, domain, gone, now) for gone in lost
        ):
            break
        best = kind
    return best


def _server(value: Instance | RegionView) -> Any:
    return value.id if isinstance(value, Instance) else None


def _region(value: Instance | RegionView) -> Any:
    return (value.cloud, value.region)


def _vendor(value: Instance | RegionView) -> Any:
    return value.vendor


_DOMAINS: Sequence[tuple[Survive, Callable[[Instance | RegionView], Any]]] = (
    (Survive.SERVER, _server),
    (Survive.REGION, _region),
    (Survive.PROVIDER, _vendor),
)


def _is_survived(
    state: AppState,
    serving: list[Instance],
    usable: list[RegionView],
    known: Sequence[RegionView],
    domain: Callable[[Instance | RegionView], Any],
    gone: Any,
    now: float,
) -> bool:
    application = state.application
    kept = [i for i in serving if domain(i) != gone]
    if len(kept) >= application.must_serve:
        return True
    lost_places = {(r.cloud, r.region) for r in known if domain(r) == gone}
    if lost_places and len(lost_places) * 2 > len({(r.cloud, r.region) for r in known}):
        return False  # such a loss looks like our own cut cable, and nothing would move
    left = [r for r in usable if domain(r) != gone and r.headroom is not None]
    while len(kept) < application.must_serve:
        choice = placement.choose(application, left, kept, (), now)
        if isinstance(choice, placement.Refused):
            return False
        kept.append(_on_paper(serving[0], choice.region))
    return True


def _on_paper(like: Instance, region: RegionView) -> Instance:
    return replace(
        like,
        state=InstanceState.REQUESTED,
        cloud=region.cloud,
        region=region.region,
        provider=region.provider,
        vendor=region.vendor,
        jurisdiction=region.jurisdiction,
        country=region.country,
        city=region.city,
    )
