"""Vendors as data: where their regions are and what they want to be done differently.

A cloud is recognised by the `profile` of its clouds.yaml entry, else by its name; an emulated one is named after its
vendor with `-like`. What clouds.yaml itself says (image_format, floating_ip_source…) wins over this table, and
`trunkline_location` there ({city, country, jurisdiction, lat, lon}, or a map region → such) over the places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from trunkline.pool.model import Vendor

EU = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE".split()  # noqa: SIM905
)

CITIES: dict[str, tuple[str, float, float]] = {
    "Amsterdam": ("NL", 52.37, 4.90),
    "Ashburn": ("US", 39.04, -77.49),
    "Beauharnois": ("CA", 45.32, -73.87),
    "Beijing": ("CN", 39.90, 116.41),
    "Buffalo": ("US", 42.89, -78.88),
    "Chicago": ("US", 41.88, -87.63),
    "Dallas": ("US", 32.78, -96.80),
    "Dubai": ("AE", 25.20, 55.27),
    "Frankfurt": ("DE", 50.11, 8.68),
    "Gravelines": ("FR", 50.99, 2.13),
    "Guangzhou": ("CN", 23.13, 113.26),
    "Hillsboro": ("US", 45.52, -122.99),
    "Hong Kong": ("HK", 22.32, 114.17),
    "Karlskrona": ("SE", 56.16, 15.59),
    "Lausanne": ("CH", 46.52, 6.63),
    "London": ("GB", 51.51, -0.13),
    "Los Angeles": ("US", 34.05, -118.24),
    "Magdeburg": ("DE", 52.12, 11.63),
    "Milan": ("IT", 45.46, 9.19),
    "Montreal": ("CA", 45.50, -73.57),
    "New York": ("US", 40.71, -74.01),
    "Oslo": ("NO", 59.91, 10.75),
    "Porirua": ("NZ", -41.13, 174.84),
    "Prague": ("CZ", 50.08, 14.44),
    "Salt Lake City": ("US", 40.76, -111.89),
    "San Jose": ("US", 37.34, -121.89),
    "Santa Clara": ("US", 37.35, -121.96),
    "Singapore": ("SG", 1.35, 103.82),
    "Stockholm": ("SE", 59.33, 18.07),
    "Strasbourg": ("FR", 48.57, 7.75),
    "Sunnyvale": ("US", 37.37, -122.04),
    "Sydney": ("AU", -33.87, 151.21),
    "Tokyo": ("JP", 35.68, 139.69),
    "Vancouver": ("CA", 49.28, -123.12),
    "Warsaw": ("PL", 52.23, 21.01),
    "Wellington": ("NZ", -41.29, 174.78),
    "Zurich": ("CH", 47.37, 8.54),
}


class Profile(Struct, frozen=True):
    """What is peculiar to a vendor.

    image_method: how bits get in, "put", "import" or "task". floating_ip: "required", "none" (direct addresses) or
    "auto" (as its networks say). regions: prefix of the region's name in lower case → city.
    """

    vendor: str
    regions: Mapping[str, str] = {}
    image_method: str = "put"
    image_format: str = "qcow2"
    floating_ip: str = "auto"
    aliases: tuple[str, ...] = ()


def _p(vendor: str, regions: str, method: str, format: str, fip: str, *aliases: str) -> Profile:
    places = dict(part.strip().split("=") for part in regions.split(",") if part.strip())
    return Profile(vendor, places, method, format, fip, aliases)


PROFILES: tuple[Profile, ...] = (
    _p(
        "rackspace",
        "dfw=Dallas,ord=Chicago,iad=Ashburn,hkg=Hong Kong,syd=Sydney,lon=London",
        "task",
        "vhd",
        "none",
        "rax",
    ),
    _p(
        "ovh",
        "gra=Gravelines,sbg=Strasbourg,bhs=Beauharnois,waw=Warsaw,de=Frankfurt,uk=London,us-east-va=Ashburn,"
        "us-west-or=Hillsboro",
        "put",
        "raw",
        "none",
        "ovh-us",
    ),
    _p(
        "internap",
        "nyj=New York,da=Dallas,sjc=San Jose,ams=Amsterdam,sin=Singapore,mtl=Montreal",
        "put",
        "qcow2",
        "none",
        "inap",
    ),
    _p(
        "citycloud",
        "sto=Stockholm,kna=Karlskrona,fra=Frankfurt,buf=Buffalo,tky=Tokyo,dx=Dubai,lon=London,la=Los Angeles",
        "put",
        "raw",
        "required",
        "cleura",
        "city",
    ),
    _p("vexxhost", "ca-ymq=Montreal,ams=Amsterdam,sjc=Santa Clara", "put", "raw", "auto"),
    _p("limestonenetworks", "us-dfw=Dallas,us-slc=Salt Lake City", "put", "raw", "none", "limestone"),
    _p("linaro", "cn=Beijing,us=Ashburn,uk=London", "put", "qcow2", "auto"),
    _p("packethost", "us-west=Sunnyvale", "put", "raw", "auto", "equinix"),
    _p("elastx", "se-sto=Stockholm,se-east=Stockholm", "put", "raw", "auto"),
    _p("entercloudsuite", "it-mil=Milan,nl-ams=Amsterdam,de-fra=Frankfurt", "put", "qcow2", "auto"),
    _p("fuga", "cystack=Amsterdam", "put", "qcow2", "auto"),
    _p("otc", "eu-de=Magdeburg,eu-nl=Amsterdam,eu-ch=Zurich", "import", "qcow2", "auto", "otc-swiss"),
    _p("switchengines", "zh=Zurich,ls=Lausanne", "put", "raw", "auto", "switch", "switchcloud"),
    _p("ultimum", "regionone=Prague", "put", "qcow2", "auto"),
    _p("zetta", "no-osl=Oslo,nl=Amsterdam", "put", "qcow2", "auto"),
    _p("auro", "van=Vancouver", "put", "qcow2", "required"),
    _p("catalyst", "nz-por=Porirua,nz_wlg=Wellington,nz-hlz=Wellington", "put", "raw", "auto"),
    _p("conoha", "tyo=Tokyo,sin=Singapore,sjc=San Jose", "put", "qcow2", "none"),
    _p("dreamcompute", "us-east=Ashburn,iad=Ashburn,regionone=Ashburn", "put", "raw", "auto"),
    _p("datacentred", "sal01=London", "put", "raw", "auto"),
    _p("unitedstack", "bj=Beijing,gd=Guangzhou", "put", "raw", "none"),
    _p("binero", "europe-se=Stockholm", "put", "raw", "none"),
)


def profile_of(cloud: str, sdk_profile: str | None = None) -> Profile:
    """The profile of a cloud by its entry's name or the SDK's profile; an unknown one is its own vendor."""
    for name in (sdk_profile, cloud):
        if not name:
            continue
        name = name.lower().removesuffix("-like")
        for profile in PROFILES:
            if name == profile.vendor or name in profile.aliases:
                return profile
    return Profile(vendor=cloud)


def place_of(cloud: str, region: str, entry: Mapping[str, Any] | None = None) -> Vendor:
    """Where a region is, as far as is known. `entry`: the cloud's settings from clouds.yaml."""
    entry = entry or {}
    profile = profile_of(cloud, entry.get("profile"))
    said = entry.get("trunkline_location") or {}
    if isinstance(said.get(region), Mapping):
        said = said[region]
    city = str(said.get("city") or _city(profile, region))
    country, lat, lon = CITIES.get(city, ("", None, None))
    country = str(said.get("country") or country)
    jurisdiction = str(said.get("jurisdiction") or ("EU" if country in EU else country))
    return Vendor(profile.vendor, city, country, jurisdiction, said.get("lat", lat), said.get("lon", lon))


def _city(profile: Profile, region: str) -> str:
    matches = [prefix for prefix in profile.regions if region.lower().startswith(prefix)]
    return profile.regions[max(matches, key=len)] if matches else ""
