"""How long things take: lognormal draws by (median, 95th percentile), seeded, scaled by a factor."""

import asyncio
import math
import random

_Z_95 = 1.6448536269514722


class Pace:
    """A region's clockwork. The order of its draws is the order of its events; the seed decides the rest."""

    def __init__(self, seed: int, name: str, factor: float) -> None:
        self._chance = random.Random(f"{seed}/{name}")
        self._factor = factor

    def draw(self, span: tuple[float, float]) -> float:
        """Seconds to wait for something that takes `span`."""
        median, p95 = span
        if median <= 0 or self._factor <= 0:
            return 0.0
        sigma = max(0.0, math.log(max(p95, median) / median) / _Z_95)
        return float(self._chance.lognormvariate(math.log(median), sigma) * self._factor)

    async def wait(self, span: tuple[float, float]) -> None:
        await asyncio.sleep(self.draw(span))
