"""Where the next instance goes: feasible → score → choose. Hard rules refuse and say what would mend it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from .cities import distance_km
from .model import Application, Health, Instance, InstanceState, RegionHealth, RegionView, Survive

FLAP_S = 600.0
"""A region whose state changed within this time is used after steady ones."""


EU_COUNTRIES = frozenset(
    country
    for line in (
        "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE",
        "IT LV LT LU MT NL PL PT RO SK SI ES SE",
    )
    for country in line.split()
)
"""The members of the European Union by ISO 3166-1 alpha-2 code."""


class Chosen(msgspec.Struct, frozen=True):
    region: RegionView
    reason: str


class Refused(msgspec.Struct, frozen=True):
    """No place is allowed: which rule refuses each region, and what would mend it."""

    message: str


def spread_wanted(application: Application) -> tuple[int, int]:
    """Distinct (providers, regions) that the policy demands: its spread, and two of what it must survive."""
    placement, most = application.placement, max(application.instances, 1)
    providers, regions = placement.spread_providers, placement.spread_regions
    if placement.survive is Survive.PROVIDER:
        providers = max(providers, 2)
    elif placement.survive is Survive.REGION:
        regions = max(regions, 2)
    return min(providers, most), min(max(providers, regions), most)


def forbidden(application: Application, place: RegionView | Instance) -> bool:
    """Law F1: outside the allowed jurisdictions nothing may exist. A country of the EU is inside the EU."""
    allowed = application.placement.jurisdictions
    laws = {place.jurisdiction, place.country} - {""}
    if laws & EU_COUNTRIES:
        laws.add("EU")
    return bool(allowed) and laws.isdisjoint(allowed)


def misplaced(application: Application, instance: Instance) -> str | None:
    """Why policy (not law) wants this instance elsewhere."""
    if instance.label != application.label:
        return f"its label is {instance.label}, wanted is {application.label}"
    if not application.placement.clouds.allows(instance.cloud):
        return f"cloud {instance.cloud} is no longer allowed"
    if not application.placement.regions.allows(instance.region):
        return f"region {instance.region} is no longer allowed"
    return None


def obstacle(application: Application, region: RegionView, avoid: Iterable[str], taken: int) -> str | None:
    """Why this region can not have one more instance now; None if it can."""
    placement = application.placement
    if forbidden(application, region):
        return f"jurisdiction {region.jurisdiction or 'unknown'} is outside {', '.join(placement.jurisdictions)}"
    if not placement.clouds.allows(region.cloud):
        return f"cloud {region.cloud} is excluded"
    if not placement.regions.allows(region.region):
        return f"region {region.region} is excluded"
    if region.labels is not None and application.label not in region.labels:
        return f"it has no label {application.label}"
    if region.health is RegionHealth.DOWN:
        return f"it is down: {region.reason or 'no answer'}"
    if region.provider in avoid:
        return "it refused a server lately"
    if region.headroom is not None and region.headroom - taken < 1:
        return "its quota is used up"
    return None


def choose(
    application: Application,
    regions: Sequence[RegionView],
    keep: Sequence[Instance],
    avoid: Iterable[str],
    now: float,
) -> Chosen | Refused:
    """The best place for one more instance beside ``keep``. Costs O(regions + instances). Same input, same place."""
    avoided = frozenset(avoid)
    in_flight = Counter(i.provider for i in keep if i.state is InstanceState.REQUESTED)
    obstacles = {r.provider: obstacle(application, r, avoided, in_flight[r.provider]) for r in regions}
    feasible = [r for r in regions if obstacles[r.provider] is None]
    if not feasible:
        return Refused(_no_place(regions, obstacles))
    feasible, missing = _kept_apart(application, feasible, keep)
    if not feasible:
        return Refused(missing)
    crowd = _Crowd(Counter(i.vendor for i in keep), Counter((i.cloud, i.region) for i in keep))
    spread = spread_wanted(application)
    best = min(feasible, key=lambda r: _score(application, r, crowd, spread, now))
    return Chosen(best, _why(application, best))


class _Crowd(NamedTuple):
    """How many instances there are at each vendor, and at each (cloud, region)."""

    vendors: Counter[str]
    places: Counter[tuple[str, str]]


def _kept_apart(
    application: Application, feasible: list[RegionView], keep: Sequence[Instance]
) -> tuple[list[RegionView], str]:
    """Leave only regions from which the demanded spread can still be reached with the instances yet to place."""
    want_providers, want_regions = spread_wanted(application)
    vendors = {i.vendor for i in keep}
    places = {(i.cloud, i.region) for i in keep}
    left = max(application.instances - len(keep), 1)
    if want_providers - len(vendors) >= left:
        apart = [r for r in feasible if r.vendor not in vendors]
        if not apart:
            return [], (
                f"spread wants {want_providers} providers; only {', '.join(sorted(vendors))} can be used now: "
                "allow another provider, or lower spread.providers"
            )
        feasible = apart
    if want_regions - len(places) >= left:
        apart = [r for r in feasible if (r.cloud, r.region) not in places]
        if not apart:
            return [], f"spread wants {want_regions} regions and no further one can be used now"
        feasible = apart
    return feasible, ""


def _score(
    application: Application, region: RegionView, crowd: _Crowd, spread: tuple[int, int], now: float
) -> tuple[object, ...]:
    want_providers, want_regions = spread
    at_vendor = crowd.vendors[region.vendor]
    at_region = crowd.places[region.cloud, region.region]
    over = at_vendor >= math.ceil(application.instances / want_providers)
    over_region = at_region >= math.ceil(application.instances / want_regions)
    steady = now - region.since >= FLAP_S
    degraded = region.health is RegionHealth.DEGRADED
    return (
        over + over_region,
        degraded,
        not steady,
        round(distance_km(region, application.placement.near)),
        at_vendor,
        at_region,
        _stable(application.name, region.provider),
    )


def _stable(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _why(application: Application, region: RegionView) -> str:
    near = application.placement.near
    place = f"{region.provider} ({region.city or region.region}, {region.jurisdiction or '?'}"
    if not near:
        return f"{place})"
    return f"{place}, {distance_km(region, near):.0f} km from {', '.join(n.city for n in near)})"


def _no_place(regions: Sequence[RegionView], obstacles: dict[str, str | None]) -> str:
    if not regions:
        return "no region is known yet: is a launcher running?"
    return "no region can take an instance: " + "; ".join(
        f"{r.provider}: {obstacles[r.provider]}" for r in sorted(regions, key=lambda r: r.provider)
    )


def worst_first(application: Application, regions: Sequence[RegionView], keep: Sequence[Instance]) -> list[Instance]:
    """Instances in the order in which to give them up: what serves nobody, crowds a provider, is far, is young."""
    by_provider = {r.provider: r for r in regions}
    vendors = Counter(i.vendor for i in keep)
    places = Counter((i.cloud, i.region) for i in keep)
    want_providers, want_regions = spread_wanted(application)

    def badness(i: Instance) -> tuple[object, ...]:
        breaks = (vendors[i.vendor] == 1 and len(vendors) <= want_providers) or (
            places[i.cloud, i.region] == 1 and len(places) <= want_regions
        )
        region = by_provider.get(i.provider)
        km = distance_km(region, application.placement.near) if region else 0.0
        ailing = region is not None and region.health is not RegionHealth.HEALTHY
        return (
            breaks,
            i.health is Health.HEALTHY,
            i.commit is not None,
            not ailing,
            -vendors[i.vendor],
            -round(km),
            -i.created,
            i.id,
        )

    return sorted(keep, key=badness)
