"""May this provider serve this request at all, and may it now? Rules that hold whatever else is going on.

`never` is for good: the provider declines. `later` passes: the region is down, not looked at yet, or careful. Room is
not asked for here (see quota).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from trunkline.pool.health import is_avoided
from trunkline.pool.model import (
    Constraints,
    LabelSpec,
    Offer,
    ProviderSpec,
    RegionFacts,
    RegionStatus,
    Request,
    Resources,
)
from trunkline.pool.quota import never_fits, total


class Verdict(Struct, frozen=True):
    """never and later are reasons, empty when they do not apply."""

    never: str = ""
    later: str = ""


OK = Verdict()


def judge(request: Request, spec: ProviderSpec, region: RegionFacts | None, now: float) -> Verdict:
    """What the provider can say of the request before looking at room."""
    refusal = _refusal_by_configuration(request, spec)
    if refusal:
        return Verdict(never=refusal)
    if spec.driver == "static":
        return _judge_static(request, spec)
    if region is None or region.seen is None:
        return Verdict(later="the region has not been looked at yet")
    never = (
        _refusal_by_place(request.constraints, region)
        or _refusal_by_offer(request.labels, spec, region.offer)
        or _refusal_by_quota(request.labels, spec, region)
        or _refusal_by_failures(request, spec)
    )
    if never:
        return Verdict(never=never)
    if region.health.status is RegionStatus.down:
        return Verdict(later=f"the region is down: {region.health.reason}")
    labels = [label for name in request.labels if (label := spec.label(name))]
    missing = next((x.flavor.flavor_name for x in labels if x.flavor.flavor_name not in region.offer.flavors), None)
    if missing:
        return Verdict(later=f"flavor {missing} has not been looked up yet")
    pending = next((x.image.name for x in labels if x.image.name not in region.offer.images), None)
    if pending:
        return Verdict(later=f"image {pending} is not there yet")
    return OK


def launch_hindrance(labels: Sequence[LabelSpec], region: RegionFacts, coming: int, now: float) -> str:
    """Why nothing of these labels should be launched in the region just now; empty if it may."""
    if region.health.status is RegionStatus.degraded and coming:
        return f"one launch at a time, as {region.health.reason}"
    for label in labels:
        if all(is_avoided(region.health, label.flavor.flavor_name, az, now) for az in choices_of_az(label, region)):
            return f"the cloud had no room for flavor {label.flavor.flavor_name}"
    return ""


def choices_of_az(label: LabelSpec, region: RegionFacts) -> tuple[str | None, ...]:
    """The zones a server of the label may be put in; (None,) leaves it to the cloud."""
    if label.az:
        return (label.az,)
    return region.offer.azs if len(region.offer.azs) > 1 else (None,)


def needs_of(label: LabelSpec, offer: Offer) -> Resources:
    """What one server of the label takes of the quotas."""
    flavor = offer.flavors.get(label.flavor.flavor_name, Resources())
    volume_gb = label.volume_size_gb or label.flavor.volume_size_gb or label.image.volume_size_gb
    volumes = 1 if label.boot_from_volume else 0
    return Resources(
        instances=1,
        cores=flavor.cores,
        ram_mib=flavor.ram_mib,
        volumes=volumes,
        volume_gb=(volume_gb or flavor.volume_gb or 0) if volumes else 0,
    )


def _refusal_by_configuration(request: Request, spec: ProviderSpec) -> str:
    if request.pin and request.pin not in (spec.canonical_name, spec.name):
        return f"pinned to {request.pin}"
    for name in request.labels:
        label = spec.label(name)
        if label is None:
            return f"has no label {name}"
        if request.zone and label.executor_zone and label.executor_zone != request.zone:
            return f"label {name} is for executor zone {label.executor_zone}"
    for name, count in Counter(request.labels).items():
        most = next((label.max_nodes for label in spec.labels if label.name == name), None)
        if most is not None and count > most:
            return f"wants {count} nodes of label {name}, max-nodes is {most}"
    return ""


def _judge_static(request: Request, spec: ProviderSpec) -> Verdict:
    if request.constraints and request.constraints != Constraints():
        return Verdict(never="nothing is known of where static nodes are")
    have = Counter(node.label for node in spec.static_nodes)
    for name, count in Counter(request.labels).items():
        if count > have[name]:
            return Verdict(never=f"has {have[name]} nodes of label {name}")
    return OK


def _refusal_by_place(constraints: Constraints | None, region: RegionFacts) -> str:
    if constraints is None:
        return ""
    vendor = region.vendor
    allowed = constraints.jurisdictions
    if allowed and vendor.jurisdiction not in allowed and vendor.country not in allowed:
        return f"{region.name} is in {vendor.country or 'an unknown country'}, allowed: {', '.join(allowed)}"
    if constraints.regions and region.name not in constraints.regions:
        return f"{region.name} is not one of the regions asked for"
    if region.name in constraints.never_regions:
        return f"{region.name} is excluded"
    if constraints.clouds and region.cloud not in constraints.clouds and vendor.name not in constraints.clouds:
        return f"{region.cloud} is not one of the clouds asked for"
    return ""


def _refusal_by_offer(labels: Sequence[str], spec: ProviderSpec, offer: Offer) -> str:
    for name in labels:
        label = spec.label(name)
        assert label is not None
        for key in (f"image:{label.image.name}", f"flavor:{label.flavor.flavor_name}"):
            if key in offer.problems:
                return f"label {name}: {offer.problems[key]}"
    return ""


def _refusal_by_quota(labels: Sequence[str], spec: ProviderSpec, region: RegionFacts) -> str:
    needs = [needs_of(label, region.offer) for name in labels if (label := spec.label(name))]
    return never_fits(spec, region, total(needs)) or ""


def _refusal_by_failures(request: Request, spec: ProviderSpec) -> str:
    failed = request.failures.get(spec.canonical_name, 0)
    return f"{failed} launches failed" if failed >= spec.launch_attempts else ""
