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
    step: float  # degrees of longitude between dots; rows are as far apart on the map as columns
    land: str


EUROPE = Panel(
    "Europe",
    -12,
    34,
    35,
    66,
    1.0,
    """
3ff9ff 3fe1ff 7fe3ff ffe7ff 3ff8fff fff1fff 1ffe1fff 1ffe1fff 1fff1fff 1fff841f 1fff83ff e7e0fff 140043e03ff
f0003e8bff f0031e1fff e003bc1fff 7003501fff 37801003fff 71c01b3ffff f1c07ffffff 73e1fffffff f3f3fffffff c7e3fffffff
3e7fffffff 60ffffffff 1ffffffff fffffffff 3fffffffff 3fffffffff fffffffff fffffffff 7fffffff1 7ffeffff1 7ffc7ffe0
7fce7ffe0 38ff8f3ffc0 7ff8071ffc0 7ff81787fc0 7ff803c7fc3 7fe010e7fdf 7fc03077cff 7fc030238ff 7fc0202187f
7fc00021cff 7f800181c7f 7f00108087f c0ff80001b 3ff800000 8fff800201
""",
)
NORTH_AMERICA = Panel(
    "North America",
    -128,
    -64,
    22,
    54,
    1.4,
    """
3fffffffe7ff 3fffffffe7ff 3fffffffffff 3ffffffffffd ffffffffffe 7fffffffffe 7fffffffffe 7ffffffffff 7fffffffffb
7ffffffffe0 7ffffffffe0 7ffffffffc0 7ffffffff80 7ffffffff00 3ffffffff00 3fffffffe00 1fffffffe00 1fffffffe00
7ffffff800 3ffffff000 3fffffe000 17fffce000 17ffc03000 bff003000 dff001000 5ff001000 4ff000000 27f000000 3f005800
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
e3e07fc000000ff0200 1e2f97c3f800e00fffffe0 33ffffce3c003ffffffffff 3ffff0c38007fffffffffe 187ff0e000067ffffffc10
3ffdf00067fffffffc20 1ffff8003ffffffffe00 fffe0003ffffffffc00 fffc00073c7fffff200 fff000060bfffffa000
7ff00007c0fffff8400 3fe00007effffff8000 1e20000fffeffff8000 e00001ffffcfff0000 680001fff7c73c0000 1c0001fffb061c0000
40001fffc02040000 f000ffff00000000 fc0007fe00198000 1fe0007fc000b8000 1ff8003f8000d0600 1ffc003f800000300
ffc003f800000000 ff8003f900003a00 7f8003f200007f00 7f0001f20001ff80 7e0001e00001ff80 7c0001e00000ff80
7800000000008780 7000000000000000 6000000000000000 c000000000000000 c000000000000000 4000000000000000
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
        dot=round(panel.step * across * 0.55, 2),
        land=_land_path(panel, across, height),
        marks=tuple(_labelled(points)),
    )


def _land_path(panel: Panel, across: float, height: float) -> str:
    columns = round((panel.east - panel.west) / panel.step)
    rows = panel.land.split()
    parts: list[str] = []
    for row, digits in enumerate(rows):
        bits = int(digits, 16)
        y = (row + 0.5) * height / len(rows)
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
