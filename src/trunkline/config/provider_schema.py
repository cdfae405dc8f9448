"""What sections and providers may say for each driver: the openstack and static drivers' attributes."""

from __future__ import annotations

from typing import Any

from trunkline.config.shape import (
    BOOL,
    INT,
    MAP,
    NOTHING,
    STR,
    Either,
    Fields,
    Many,
    Mapped,
    OneOf,
    at_least,
    scalar_or_list,
)

_STRS = scalar_or_list(STR)
_TAGS = Mapped(Either((STR, INT, BOOL)))
_FINAL = {"final": OneOf((True, False, "allow-override"))}
_TEXT = Either((STR, NOTHING))

_IMAGE: dict[str, Any] = {
    **_FINAL,
    "username": STR,
    "connection-type": OneOf(("ssh", "winrm")),
    "connection-port": INT,
    "python-path": STR,
    "shell-type": STR,
    "import-timeout": INT,
    "upload-methods": scalar_or_list(OneOf(("copy", "import", "upload"))),
    "tags": _TAGS,
    "retain-count": at_least(1),
    "max-retain-count": at_least(1),
}
_LABEL: dict[str, Any] = {
    **_FINAL,
    "boot-timeout": INT,
    "max-ready-age": INT,
    "max-age": INT,
    "min-retention-time": INT,
    "snapshot-timeout": INT,
    "snapshot-expiration": INT,
    "slots": at_least(1),
    "reuse": BOOL,
    "aliases": _STRS,
    "executor-zone": STR,
    "tags": _TAGS,
    "key-name": STR,
    "host-key-checking": BOOL,
}
_NAMED: dict[str, Any] = {"name": STR, "description": _TEXT}
_MACHINE: dict[str, Any] = {"volume-size": INT, "userdata": STR}

_OPENSTACK_IMAGE = {**_IMAGE, **_MACHINE, "config-drive": BOOL}
_OPENSTACK_FLAVOR = {**_FINAL, **_MACHINE, "public-ipv4": BOOL, "public-ipv6": BOOL}
_OPENSTACK_LABEL = {
    **_LABEL,
    **_MACHINE,
    "az": STR,
    "auto-floating-ip": BOOL,
    "boot-from-volume": BOOL,
    "networks": _STRS,
    "security-groups": _STRS,
}


def _attached(own: dict[str, Any]) -> Many:
    return Many(Either((STR, Fields({**_NAMED, **own}, required=("name",)))))


def _shape(
    image: dict[str, Any], flavor: dict[str, Any], label: dict[str, Any], driver: dict[str, Any], own_image: dict[str, Any],
    own_flavor: dict[str, Any],
) -> Fields:  # fmt: skip
    return Fields(
        {
            **_NAMED,
            "parent": _TEXT,
            "section": STR,
            "abstract": Either((BOOL, NOTHING)),
            "connection": _TEXT,
            "launch-timeout": INT,
            "launch-attempts": INT,
            "image-defaults": Fields(image),
            "flavor-defaults": Fields(flavor),
            "label-defaults": Fields(label),
            "images": _attached({**image, **own_image, "type": OneOf(("cloud", "zuul"))}),
            "flavors": _attached({**flavor, **own_flavor}),
            "labels": _attached({**label, "image": STR, "flavor": STR}),
            **driver,
        },
        required=("name",),
    )


_LIMITS = dict.fromkeys(("instances", "cores", "ram", "volumes", "volume-gb"), INT)
_STATIC_NODE = Fields(
    {
        "name": STR,
        "label": STR,
        "connection-port": INT,
        "username": STR,
        "aliases": _STRS,
        "host-key": _STRS,
    },
    required=("name", "label"),
)
DRIVERS: dict[str, Fields] = {
    "openstack": _shape(
        _OPENSTACK_IMAGE,
        _OPENSTACK_FLAVOR,
        _OPENSTACK_LABEL,
        {
            "region": STR,
            "resource-limits": Fields(_LIMITS),
            "floating-ip-cleanup": BOOL,
            "port-cleanup-interval": INT,
            "object-storage": MAP,
        },
        {"image-id": STR},
        {"flavor-name": STR},
    ),
    "static": _shape(
        _IMAGE,
        _FINAL,
        _LABEL,
        {"nodes": Many(_STATIC_NODE), "resource-limits": Fields({"instances": INT})},
        {},
        {},
    ),
}
