"""Which of the providers that could serve a request is best: lower is better.

Weights are in the same unit: one is about a minute of waiting.
"""

from __future__ import annotations

import zlib

from trunkline.pool.model import ProviderSpec, RegionFacts, RegionStatus, Request

USUAL_READY_S = 60.0
LOAD_WEIGHT = 1.5
FAILURE_WEIGHT = 4.0
DEGRADED_WEIGHT = 2.0
TIE_WEIGHT = 0.25  # spreads what is otherwise equal


def score(
    request: Request, spec: ProviderSpec, region: RegionFacts | None, *, to_create: int, still_coming: int, load: float
) -> float:
    """The expected cost of having the provider serve the request.

    to_create: nodes that must be made; still_coming: assigned ones that are not ready yet; load: 0 to 1, how full the
    fullest account would be.
    """
    health = region.health if region else None
    ready_s = (health.ready_s if health else None) or USUAL_READY_S
    waiting = ready_s / 60.0 if to_create else ready_s / 120.0 if still_coming else 0.0
    careful = DEGRADED_WEIGHT if health and health.status is RegionStatus.degraded and to_create else 0.0
    return (
        waiting
        + LOAD_WEIGHT * load
        + FAILURE_WEIGHT * request.failures.get(spec.canonical_name, 0)
        + careful
        + TIE_WEIGHT * stable_hash(request.id, spec.canonical_name)
    )


def stable_hash(*words: str) -> float:
    """A number in [0, 1) that is the same everywhere."""
    return zlib.crc32("\0".join(words).encode()) / 2**32
