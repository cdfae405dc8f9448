"""Vendors: how they differ. A profile changes what the APIs offer, never what the code for them is."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Profile:
    """One vendor's ways."""

    services: tuple[str, ...] = ("compute", "image", "network", "volume", "placement")
    topology: str = "both"
    """provider: servers sit on a public network; private: on a private one, with floating IPs; both; nova: no neutron."""
    provider_network: str = "public"
    upload: tuple[str, ...] = ("put", "import")
    identity_v2: bool = False
    cloud_config: dict[str, Any] = field(default_factory=dict)
    """What clients must say about it in clouds.yaml."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Of the region's spec."""


PROFILES: dict[str, Profile] = {
    "plain": Profile(),
    "citycloud-like": Profile(
        topology="private",
        upload=("put",),
        cloud_config={"image_format": "raw"},
        defaults={"timings": {"boot": [25, 60]}},
    ),
    "ovh-like": Profile(
        topology="provider",
        provider_network="Ext-Net",
        upload=("put",),
        cloud_config={"image_format": "raw", "floating_ip_source": "None"},
        defaults={"timings": {"boot": [20, 40]}},
    ),
    "otc-like": Profile(
        topology="private",
        provider_network="admin_external_net",
        upload=("import",),
        cloud_config={"image_format": "qcow2", "interface": "public"},
        defaults={"timings": {"boot": [30, 60]}, "availability_zones": ["eu-de-01", "eu-de-02", "eu-de-03"]},
    ),
    "rax-like": Profile(
        services=("compute", "image", "volume", "object"),
        topology="nova",
        upload=("task",),
        identity_v2=True,
        cloud_config={
            "image_api_use_tasks": True,
            "image_format": "vhd",
            "floating_ip_source": "None",
            "secgroup_source": "None",
            "has_network": False,
        },
        defaults={"timings": {"boot": [40, 90], "delete": [60, 180]}},
    ),
    "vexxhost-like": Profile(
        topology="both",
        upload=("put",),
        cloud_config={"image_format": "raw", "floating_ip_source": "None"},
    ),
}
