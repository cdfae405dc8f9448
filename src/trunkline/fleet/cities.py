"""Where cities are, and how far apart: enough to place servers near users and to locate the regions of the vendors.

Coordinates are decimal degrees, rounded to two places (about a kilometre). Pure data and one formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .model import Near, RegionView

EARTH_RADIUS_KM = 6371.0


class City(NamedTuple):
    country: str
    lat: float
    lon: float


CITIES: dict[str, City] = {
    "Amsterdam": City("NL", 52.37, 4.90),
    "Ashburn": City("US", 39.04, -77.49),
    "Athens": City("GR", 37.98, 23.73),
    "Auckland": City("NZ", -36.85, 174.76),
    "Barcelona": City("ES", 41.39, 2.17),
    "Beauharnois": City("CA", 45.32, -73.87),
    "Beijing": City("CN", 39.90, 116.41),
    "Belgrade": City("RS", 44.79, 20.45),
    "Berlin": City("DE", 52.52, 13.41),
    "Bern": City("CH", 46.95, 7.45),
    "Birmingham": City("GB", 52.48, -1.90),
    "Bogota": City("CO", 4.71, -74.07),
    "Bratislava": City("SK", 48.15, 17.11),
    "Brussels": City("BE", 50.85, 4.35),
    "Bucharest": City("RO", 44.43, 26.10),
    "Budapest": City("HU", 47.50, 19.04),
    "Buenos Aires": City("AR", -34.60, -58.38),
    "Buffalo": City("US", 42.89, -78.88),
    "Cairo": City("EG", 30.04, 31.24),
    "Cape Town": City("ZA", -33.92, 18.42),
    "Chicago": City("US", 41.88, -87.63),
    "Copenhagen": City("DK", 55.68, 12.57),
    "Dallas": City("US", 32.78, -96.80),
    "Delhi": City("IN", 28.61, 77.21),
    "Denver": City("US", 39.74, -104.99),
    "Dubai": City("AE", 25.20, 55.27),
    "Dublin": City("IE", 53.35, -6.26),
    "Dusseldorf": City("DE", 51.23, 6.77),
    "Edinburgh": City("GB", 55.95, -3.19),
    "Frankfurt": City("DE", 50.11, 8.68),
    "Geneva": City("CH", 46.20, 6.14),
    "Gothenburg": City("SE", 57.71, 11.97),
    "Gravelines": City("FR", 50.99, 2.13),
    "Guangzhou": City("CN", 23.13, 113.26),
    "Hamburg": City("DE", 53.55, 9.99),
    "Helsinki": City("FI", 60.17, 24.94),
    "Hillsboro": City("US", 45.52, -122.99),
    "Hong Kong": City("HK", 22.32, 114.17),
    "Istanbul": City("TR", 41.01, 28.98),
    "Jakarta": City("ID", -6.21, 106.85),
    "Johannesburg": City("ZA", -26.20, 28.05),
    "Karlskrona": City("SE", 56.16, 15.59),
    "Kyiv": City("UA", 50.45, 30.52),
    "Lagos": City("NG", 6.52, 3.38),
    "Lausanne": City("CH", 46.52, 6.63),
    "Lisbon": City("PT", 38.72, -9.14),
    "Ljubljana": City("SI", 46.06, 14.51),
    "London": City("GB", 51.51, -0.13),
    "Los Angeles": City("US", 34.05, -118.24),
    "Luxembourg": City("LU", 49.61, 6.13),
    "Lyon": City("FR", 45.76, 4.84),
    "Madrid": City("ES", 40.42, -3.70),
    "Magdeburg": City("DE", 52.13, 11.63),
    "Manchester": City("GB", 53.48, -2.24),
    "Marseille": City("FR", 43.30, 5.37),
    "Melbourne": City("AU", -37.81, 144.96),
    "Mexico City": City("MX", 19.43, -99.13),
    "Miami": City("US", 25.76, -80.19),
    "Milan": City("IT", 45.46, 9.19),
    "Montreal": City("CA", 45.50, -73.57),
    "Mumbai": City("IN", 19.08, 72.88),
    "Munich": City("DE", 48.14, 11.58),
    "Nairobi": City("KE", -1.29, 36.82),
    "New York": City("US", 40.71, -74.01),
    "Nuremberg": City("DE", 49.45, 11.08),
    "Osaka": City("JP", 34.69, 135.50),
    "Oslo": City("NO", 59.91, 10.75),
    "Paris": City("FR", 48.86, 2.35),
    "Perth": City("AU", -31.95, 115.86),
    "Porirua": City("NZ", -41.13, 174.84),
    "Prague": City("CZ", 50.08, 14.44),
    "Reykjavik": City("IS", 64.15, -21.94),
    "Riga": City("LV", 56.95, 24.11),
    "Rome": City("IT", 41.90, 12.50),
    "Salt Lake City": City("US", 40.76, -111.89),
    "San Antonio": City("US", 29.42, -98.49),
    "San Francisco": City("US", 37.77, -122.42),
    "San Jose": City("US", 37.34, -121.89),
    "Santa Clara": City("US", 37.35, -121.96),
    "Santiago": City("CL", -33.45, -70.67),
    "Sao Paulo": City("BR", -23.55, -46.63),
    "Seattle": City("US", 47.61, -122.33),
    "Seoul": City("KR", 37.57, 126.98),
    "Shanghai": City("CN", 31.23, 121.47),
    "Singapore": City("SG", 1.35, 103.82),
    "Sofia": City("BG", 42.70, 23.32),
    "Stockholm": City("SE", 59.33, 18.07),
    "Strasbourg": City("FR", 48.57, 7.75),
    "Sydney": City("AU", -33.87, 151.21),
    "Taipei": City("TW", 25.03, 121.57),
    "Tallinn": City("EE", 59.44, 24.75),
    "Tel Aviv": City("IL", 32.09, 34.78),
    "Tokyo": City("JP", 35.68, 139.69),
    "Toronto": City("CA", 43.65, -79.38),
    "Vancouver": City("CA", 49.28, -123.12),
    "Vienna": City("AT", 48.21, 16.37),
    "Vilnius": City("LT", 54.69, 25.28),
    "Warsaw": City("PL", 52.23, 21.01),
    "Washington": City("US", 38.91, -77.04),
    "Wellington": City("NZ", -41.29, 174.78),
    "Zagreb": City("HR", 45.81, 15.98),
    "Zurich": City("CH", 47.37, 8.54),
}

_BY_FOLDED_NAME = {name.casefold(): city for name, city in CITIES.items()}


def find(name: str) -> City | None:
    """The city of this name, whatever its case."""
    return _BY_FOLDED_NAME.get(name.casefold())


def great_circle_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Distance over the ground between two points, by the haversine formula."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    half_dphi, half_dlambda = (phi2 - phi1) / 2, math.radians(lon2 - lon1) / 2
    a = math.sin(half_dphi) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_dlambda) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(a)))


def distance_km(region: RegionView, near: Sequence[Near]) -> float:
    """Weighted median distance from the users' cities to a region; 0 without wishes, far if its place is not known."""
    return _median_km(region.lat, region.lon, region.city, tuple(near)) if near else 0.0


@lru_cache(maxsize=10_000)
def _median_km(lat: float | None, lon: float | None, place: str, near: tuple[Near, ...]) -> float:
    if lat is None or lon is None:
        city = find(place)
        if city is None:
            return 2 * math.pi * EARTH_RADIUS_KM
        lat, lon = city.lat, city.lon
    legs = sorted(
        (great_circle_km(lat, lon, city.lat, city.lon), wish.weight)
        for wish in near
        if (city := find(wish.city)) is not None
    )
    half = sum(weight for _, weight in legs) / 2
    passed = 0.0
    for km, weight in legs:
        passed += weight
        if passed >= half:
            return km
    return 0.0
