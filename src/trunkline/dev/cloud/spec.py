"""The regions file: what to emulate. Values left out come from the region's profile, then from the defaults here."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from trunkline.dev.cloud.profiles import PROFILES

Span = tuple[float, float]
"""Median and 95th percentile of a duration, in seconds."""

SSH_PORT = 2222


class SpecError(ValueError):
    """The regions file cannot be used; the message says where and why."""


class Flavor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    vcpus: int = 1
    ram: int = 2048
    disk: int = 20
    extra_specs: dict[str, str] = {}


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    username: str = "debian"
    python: str = "/usr/bin/python3"
    binds: tuple[str, ...] = ()
    env: dict[str, str] = {}
    connection_port: int = SSH_PORT
    min_disk: int = 0
    min_ram: int = 0


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    boot: Span = (20, 45)
    ssh: Span = (2, 5)
    delete: Span = (5, 15)
    image: Span = (10, 30)
    floating_ip: Span = (0.5, 2)
    api: Span = (0.05, 0.2)
    volume: Span = (2, 5)
    action: Span = (2, 5)


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the one project; -1 is unlimited."""

    instances: int = 50
    cores: int = 200
    ram: int = 409600
    key_pairs: int = 100
    server_groups: int = 10
    server_group_members: int = 10
    metadata_items: int = 128
    floating_ips: int = 50
    networks: int = 100
    subnets: int = 100
    ports: int = 500
    routers: int = 10
    security_groups: int = 10
    security_group_rules: int = 100
    volumes: int = 50
    gigabytes: int = 5000
    snapshots: int = 50


class RegionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cloud: str
    region: str
    profile: str = "plain"
    city: str = ""
    country: str = ""
    jurisdiction: str = ""
    hypervisor: str = "sandbox"
    quota: Quota = Quota()
    availability_zones: tuple[str, ...] = ("nova",)
    flavors: tuple[Flavor, ...] = (
        Flavor("tiny", 1, 512, 5),
        Flavor("small", 1, 2048, 20),
        Flavor("medium", 2, 4096, 40),
        Flavor("large", 4, 8192, 80),
    )
    images: tuple[Image, ...] = (Image("debian-12"),)
    timings: Timings = Timings()
    private_ssh: bool = False
    username: str = "pool"
    password: str = "example"
    project: str = "ci"


class WorldSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    regions: tuple[RegionSpec, ...]
    seed: int = 7
    factor: float = 0.1


def load(path: Path | None) -> WorldSpec:
    """Read a regions file (YAML or JSON), or the demo's four regions. Raises SpecError."""
    source = path or Path(__file__).with_name("regions.yaml")
    try:
        document = yaml.safe_load(source.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SpecError(f"{source}: {error}") from error
    return parse(document, str(source))


def parse(document: Any, where: str = "regions") -> WorldSpec:
    """Fill in the profiles and check. Raises SpecError with the path of what is wrong."""
    if not isinstance(document, dict) or not isinstance(document.get("regions"), list):
        raise SpecError(f"{where}: wants a mapping with a list `regions`")
    regions = [
        _with_profile(region, f"{where}: regions[{number}]") for number, region in enumerate(document["regions"])
    ]
    try:
        world = msgspec.convert({**document, "regions": regions}, WorldSpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{where}: {error}") from error
    for region in world.regions:
        if region.hypervisor not in ("sandbox", "paper"):
            raise SpecError(
                f"{where}: {region.cloud}/{region.region}: hypervisor is sandbox or paper, not {region.hypervisor!r}"
            )
    names = [(region.cloud, region.region) for region in world.regions]
    if len(set(names)) != len(names):
        raise SpecError(f"{where}: a region is named twice")
    return world


def _with_profile(region: Any, where: str) -> Any:
    if not isinstance(region, dict):
        raise SpecError(f"{where}: wants a mapping")
    profile = region.get("profile", "plain")
    if profile not in PROFILES:
        raise SpecError(f"{where}: unknown profile {profile!r}; there are {', '.join(sorted(PROFILES))}")
    defaults = PROFILES[profile].defaults
    merged = defaults | region
    merged["timings"] = defaults.get("timings", {}) | (region.get("timings") or {})
    return merged
