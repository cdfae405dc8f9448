"""Where regions lie: maps of dots, drawn on the server.

The land is a grid of booleans, one row of hexadecimal digits per line of latitude, northernmost first (sampled from
the GLOBE elevation model, NOAA, public domain). A panel is drawn only if a region lies in it; what lies in no finer
panel is drawn on the world. Pure: positions in, shapes out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec


class Panel(msgspec.Struct, frozen=True):
    """A map with its extent in degrees and the land in it."""

    name: str
    west: float
    east: float
    south: float
    north: float
    step: float  # degrees between dots
    land: str


EUROPE = Panel(
    "Europe",
    -12,
    34,
    35,
    66,
    1.0,
    """
3ff1ff 7fe3ff 3ffcfff fff1fff 1ffe1fff 1fff0fbf fff81bf 400e7e0bff f0003e0bff e0031c1fff 7003d01fff 7180183bfff
f1c07ffffff f3f1fffffff 3e7fffffff 60ffffffff 3ffffffff 3fffffffff 1fffffffff fffffffff 7fffffff1 7ffc7ffe0
38ff8f3ffc0 7ff8070ffc0 7ff801c7fc3 7fe03077cdf 7fc030238ff 7fc00021c7f 7f80018187f 81ff80001b 87ff800000
""",
)
NORTH_AMERICA = Panel(
    "North America",
    -128,
    -64,
    22,
    54,
    1.6,
    """
fffffff9ff fffffffdff 7ffffffffc 3fffffffff 3fffffffff 3fffffffff 3ffffffff0 3ffffffff0 3fffffffc0 1fffffff80
fffffff80 fffffff00 3fffffe00 1fffffc00 17ffff800 bff90800 5fe00c00 fe00400 27e00000 3e00400
""",
)
WORLD = Panel(
    "World",
    -180,
    180,
    -56,
    76,
    4.0,
    """
e3e07fc000000ff0000 3f3f97c3f800e00fffffe0 33ffffce3c203ffffffffff 3ffff0818007fffffffffe 107ff0e000067ffffffc10
3ffdf80067fffffffc20 1ffff8003ffffffffc00 fffe0001ffffffff800 fff800073c7fffff200 fff0000603fffffa000
7ff00007c0fffff8000 3fe0000ffffffff8000 e00001ffff7fff8000 600001fff7cffe0000 780001ffff871c0000 c0001fffe021c4000
e001ffff02040000 f800effe00080000 1fc0007fc00090000 1ff0007f800090c00 1ffc003f800000700 1ffc003f800000000
ff8003f800001a00 7f8003f200003f00 7f8003f20000ff80 7e0001e00001ff80 7c0001e00000ff80 7c00008000008780
7000000000000300 6000000000000000 c000000000000000 c000000000000000 4000000000000000
""",
)


class Mark(msgspec.Struct, frozen=True):
    """Something at a place, to be drawn."""

    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str
    key: str


class Drawing(msgspec.Struct, frozen=True):
    """One panel ready to draw: its size, the land as one path of dots, and marks by key."""

    name: str
    width: float
    height: float
    dot: float
    land: str
    marks: tuple[Mark, ...]


_WIDTH = 460.0
_LABEL_HEIGHT = 13.0
_LABEL_WIDTH = 96.0


def draw(places: Iterable[tuple[str, float, float]]) -> list[Drawing]:
    """Panels for (key, latitude, longitude), only those in which something lies."""
    remaining = list(places)
    out: list[Drawing] = []
    for panel in (EUROPE, NORTH_AMERICA, WORLD):
        inside = [place for place in remaining if _contains(panel, place[1], place[2])]
        remaining = [place for place in remaining if place not in inside]
        if inside:
            out.append(_drawing(panel, inside))
    return out


def _contains(panel: Panel, lat: float, lon: float) -> bool:
    return panel.south <= lat <= panel.north and panel.west <= lon <= panel.east


def _scales(panel: Panel) -> tuple[float, float]:
    """Pixels for a degree of longitude and of latitude: true to shape in the middle of the panel."""
    across = _WIDTH / (panel.east - panel.west)
    middle = math.radians((panel.north + panel.south) / 2)
    return across, across / max(math.cos(middle), 0.5)


def _drawing(panel: Panel, places: list[tuple[str, float, float]]) -> Drawing:
    across, down = _scales(panel)
    height = (panel.north - panel.south) * down
    points = [(key, (lon - panel.west) * across, (panel.north - lat) * down) for key, lat, lon in places]
    return Drawing(
        name=panel.name,
        width=_WIDTH,
        height=round(height, 1),
        dot=round(panel.step * across * 0.58, 2),
        land=_land_path(panel, across, down),
        marks=tuple(_labelled(points)),
    )


def _land_path(panel: Panel, across: float, down: float) -> str:
    columns = round((panel.east - panel.west) / panel.step)
    parts: list[str] = []
    for row, digits in enumerate(panel.land.split()):
        bits = int(digits, 16)
        y = (row + 0.5) * panel.step * down
        parts += [
            f"M{(column + 0.5) * panel.step * across:.1f} {y:.1f}h0"
            for column in range(columns)
            if bits >> (columns - 1 - column) & 1
        ]
    return "".join(parts)


def _labelled(points: list[tuple[str, float, float]]) -> Iterable[Mark]:
    """Labels beside their points, moved down until none covers another; marks of one place side by side."""
    taken: list[tuple[float, float]] = []
    placed: dict[tuple[int, int], int] = {}
    for key, x, y in sorted(points, key=lambda point: (point[2], point[1], point[0])):
        near = (round(x / 6), round(y / 6))
        placed[near] = placed.get(near, 0) + 1
        x += 9 * (placed[near] - 1)
        left = x > _WIDTH - _LABEL_WIDTH - 12
        label_x = x - 10 if left else x + 10
        label_y = y + 4
        span = label_x - _LABEL_WIDTH if left else label_x
        while any(
            abs(span - other_x) < _LABEL_WIDTH and abs(label_y - other_y) < _LABEL_HEIGHT for other_x, other_y in taken
        ):
            label_y += _LABEL_HEIGHT / 2
        taken.append((span, label_y))
        yield Mark(round(x, 1), round(y, 1), round(label_x, 1), round(label_y, 1), "end" if left else "start", key)
