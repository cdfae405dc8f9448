"""How much room there is: limits of the provider, of the cloud, of the tenant, and what refusals taught.

A `Ledger` is opened for one plan, charged with every node that exists in any state (a server that is being deleted
still counts), and then with each that is planned. Room only shrinks while a plan is made, so what did not fit once
does not fit later in the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable

from trunkline.pool.model import Node, ProviderHealth, ProviderSpec, RegionFacts, Resources, World

Amount = list[float]  # instances, cores, ram_mib, volumes, volume_gb
RESOURCE_NAMES = ("instances", "cores", "ram_mib", "volumes", "volume_gb")
NO_LIMIT = float("inf")
CEILING_STEP_S = 60.0  # a learned ceiling rises by a tenth, at least one, this often


def amount(resources: Resources) -> Amount:
    """A need or a use."""
    return [float(getattr(resources, name) or 0) for name in RESOURCE_NAMES]


def limit(resources: Resources) -> Amount:
    """A limit: what is not given, or is negative as clouds say "unlimited", does not limit."""
    values = [getattr(resources, name) for name in RESOURCE_NAMES]
    return [NO_LIMIT if value is None or value < 0 else float(value) for value in values]


def smaller(*limits: Amount) -> Amount:
    return [min(values) for values in zip(*limits, strict=True)]


def total(needs: Iterable[Resources]) -> Amount:
    return [sum(values) for values in zip(*map(amount, needs), strict=True)] or [0.0] * len(RESOURCE_NAMES)


def ceiling_now(health: ProviderHealth, now: float) -> Amount:
    """What refusals taught, as far as it still holds."""
    values = dict.fromkeys(RESOURCE_NAMES, NO_LIMIT)
    for ceiling in health.ceilings:
        steps = max(0, int((now - ceiling.learned) / CEILING_STEP_S))
        risen = ceiling.limit + sum(max(1, ceiling.limit // 10) for _ in range(min(steps, 1000)))
        values[ceiling.resource] = min(values.get(ceiling.resource, NO_LIMIT), risen)
    return [values[name] for name in RESOURCE_NAMES]


def never_fits(spec: ProviderSpec, region: RegionFacts, needs: Amount) -> str | None:
    """Why a set of nodes exceeds the provider's total quota, even were it empty; None if it does not."""
    for source, allowed in (("the provider's limits", spec.limits), ("the cloud's quota", region.quota.limits)):
        for name, need, most in zip(RESOURCE_NAMES, needs, limit(allowed), strict=True):
            if need > most:
                return f"needs {need:.0f} {name}, {source} allow {most:.0f}"
    return None


class Ledger:
    """Room left in each account, by key: ("provider", name), ("region", cloud, region), ("tenant", name),
    ("label", tenant, label)."""

    def __init__(self, world: World, now: float) -> None:
        self.limits: dict[tuple[str, ...], Amount] = {}
        self.left: dict[tuple[str, ...], Amount] = {}
        for spec in world.providers:
            self._open(("provider", spec.canonical_name), limit(spec.limits))
            for label in spec.labels:
                if label.max_nodes is not None:
                    self._open(("label", spec.tenant, label.name), limit(Resources(instances=label.max_nodes)))
        for key, region in world.regions.items():
            whole = smaller(limit(region.quota.limits), ceiling_now(region.health, now))
            unmanaged = amount(region.quota.unmanaged)
            self._open(("region", *key), [max(0.0, a - b) for a, b in zip(whole, unmanaged, strict=True)])
        for tenant, limits in world.tenant_limits.items():
            self._open(("tenant", tenant), limit(limits))
        for node in world.nodes.values():
            if not node.is_static:
                self.charge(keys_of(node), amount(node.needs))

    def _open(self, key: tuple[str, ...], whole: Amount) -> None:
        """Accounts that several specs share take the smallest of their limits."""
        before = self.limits.get(key)
        self.limits[key] = smaller(before, whole) if before else whole
        self.left[key] = list(self.limits[key])

    def charge(self, keys: Iterable[tuple[str, ...]], needs: Amount) -> None:
        for key in keys:
            left = self.left.get(key)
            if left is not None:
                for i, need in enumerate(needs):
                    left[i] -= need

    def fits(self, keys: Iterable[tuple[str, ...]], needs: Amount) -> bool:
        return all(self.shortage(key, needs) is None for key in keys)

    def shortage(self, key: tuple[str, ...], needs: Amount) -> Amount | None:
        """How much is missing in an account; None if there is room."""
        left = self.left.get(key)
        if left is None:
            return None
        for need, room in zip(needs, left, strict=True):
            if need and need > room:
                return [max(0.0, n - r) if n else 0.0 for n, r in zip(needs, left, strict=True)]
        return None

    def load(self, keys: Iterable[tuple[str, ...]]) -> float:
        """How full the fullest of these accounts is, 0 to 1; those without a limit do not count."""
        fullest = 0.0
        for key in keys:
            for whole, left in zip(self.limits.get(key, ()), self.left.get(key, ()), strict=True):
                if whole != NO_LIMIT:
                    fullest = max(fullest, 1.0 - left / whole if whole else 1.0)
        return fullest


def keys_of(node: Node) -> tuple[tuple[str, ...], ...]:
    return account_keys(node.provider, node.cloud, node.region, node.tenant, node.label)


def account_keys(provider: str, cloud: str, region: str, tenant: str, label: str) -> tuple[tuple[str, ...], ...]:
    return ("provider", provider), ("region", cloud, region), ("tenant", tenant), ("label", tenant, label)
