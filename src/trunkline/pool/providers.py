"""From label, image, flavor, section and provider objects to provider specs (Zuul's rules of flattening).

Root section first, the provider last: maps merge deeply, lists are concatenated, scalars replace; images, labels and
flavors go by name, the later definition replacing the earlier whole. Then each is completed: its own keys, else those
of the top-level object of its name, else the `*-defaults` of the flattened whole. `tags` merge deeply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from msgspec import Struct

from trunkline.pool.model import FlavorSpec, ImageSpec, LabelSpec, ProviderSpec, Resources, StaticNode

Body = Mapping[str, Any]
PROJECT_KEY = "_project"  # set by the caller on each body: canonical name of the project that defines it
KINDS = ("images", "labels", "flavors")


class ProviderProblem(Struct, frozen=True):
    """A provider that cannot be used as it is written."""

    provider: str
    message: str


class _Problem(Exception):
    pass


def provider_specs(
    tenant: str, objects: Mapping[str, Sequence[Body]], connections: Mapping[str, Mapping[str, str]]
) -> tuple[list[ProviderSpec], list[ProviderProblem]]:
    """The providers of a tenant's layout.

    objects: lists of bodies as written, keyed "image", "flavor", "label", "section", "provider"; each body may carry
    `_project`. connections: the options of each [connection NAME] by name. A provider with a problem is left out and
    its problem says what to mend; the others are not touched by it.
    """
    index = {kind: {body["name"]: body for body in objects.get(kind, ())} for kind in ("image", "flavor", "label")}
    sections = {body["name"]: body for body in objects.get("section", ())}
    specs, problems = [], []
    for body in objects.get("provider", ()):
        try:
            specs.append(_spec(tenant, body, sections, index, connections))
        except _Problem as problem:
            problems.append(ProviderProblem(str(body.get("name")), str(problem)))
    return specs, problems


def _spec(
    tenant: str,
    body: Body,
    sections: Mapping[str, Body],
    index: Mapping[str, Mapping[str, Body]],
    connections: Mapping[str, Mapping[str, str]],
) -> ProviderSpec:
    name = body["name"]
    flat = _flatten(body, sections)
    connection = flat.get("connection")
    if connection is None:
        raise _Problem("no section of its chain names a connection")
    options = connections.get(connection)
    if options is None:
        raise _Problem(f"connection {connection} is not configured")
    driver = options.get("driver", "")
    if driver not in ("openstack", "static"):
        raise _Problem(f"connection {connection} has driver {driver}; nodes come from openstack and static")
    canonical = f"{quote_plus(body.get(PROJECT_KEY, ''))}/{quote_plus(name)}"
    images = _complete(flat, "images", index["image"])
    flavors = _complete(flat, "flavors", index["flavor"])
    labels = _complete(flat, "labels", index["label"])
    is_static = driver == "static"
    return ProviderSpec(
        tenant=tenant,
        name=name,
        canonical_name=canonical,
        driver=driver,
        connection=connection,
        cloud=connection if is_static else _required(options, "cloud", f"connection {connection}"),
        region=canonical if is_static else str(flat.get("region") or ""),
        labels=tuple(_label(label, images, flavors, index["label"], is_static) for label in labels.values()),
        client_config_file=options.get("client_config_file"),
        rate=float(options.get("rate", 2.0)),
        limits=_resources(flat.get("resource-limits") or {}),
        launch_timeout_s=flat.get("launch-timeout"),
        launch_attempts=int(flat.get("launch-attempts", 3)),
        floating_ip_cleanup=bool(flat.get("floating-ip-cleanup", False)),
        port_cleanup_interval_s=int(flat.get("port-cleanup-interval", 600)),
        static_nodes=tuple(_static_node(node) for node in flat.get("nodes") or ()),
    )


def _flatten(body: Body, sections: Mapping[str, Body]) -> dict[str, Any]:
    chain: list[Body] = [body]
    name = body.get("section")
    while name is not None:
        section = sections.get(name)
        if section is None:
            raise _Problem(f"section {name} is not defined")
        if section in chain:
            raise _Problem(f"section {name} is its own ancestor")
        chain.append(section)
        name = section.get("parent")
    if sum("connection" in part for part in chain) > 1:
        raise _Problem("more than one section of its chain names a connection")
    flat: dict[str, Any] = {}
    for part in reversed(chain):
        for kind in KINDS:
            _check_final(flat, part, kind)
        flat = _merge(flat, {k: v for k, v in part.items() if k not in ("name", "parent", "section", PROJECT_KEY)})
    return flat


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if key in KINDS:
            merged[key] = {**(before or {}), **_by_name(value)}
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = before + value
        else:
            merged[key] = value
    return merged


def _by_name(entries: Sequence[Any]) -> dict[str, Body]:
    return {entry["name"]: entry for entry in ({"name": e} if isinstance(e, str) else e for e in entries)}


def _check_final(flat: Mapping[str, Any], part: Body, kind: str) -> None:
    defaults = flat.get(f"{kind[:-1]}-defaults") or {}
    for name in _by_name(part.get(kind) or ()):
        before = (flat.get(kind) or {}).get(name)
        setting = before.get("final", defaults.get("final", False)) if before is not None else False
        if setting is True:
            raise _Problem(f"{kind[:-1]} {name} is final and cannot be redefined")


def _complete(flat: Mapping[str, Any], kind: str, top: Mapping[str, Body]) -> dict[str, dict[str, Any]]:
    defaults = flat.get(f"{kind[:-1]}-defaults") or {}
    entries: dict[str, Body] = flat.get(kind) or {}
    if not entries:
        raise _Problem(f"has no {kind}")
    complete = {}
    for name, own in entries.items():
        above = top.get(name)
        if above is None:
            raise _Problem(f"{kind[:-1]} {name} is attached but not defined at top level")
        merged = {**defaults, **{k: v for k, v in above.items() if k != PROJECT_KEY}, **own}
        merged["tags"] = {**(defaults.get("tags") or {}), **(above.get("tags") or {}), **(own.get("tags") or {})}
        complete[name] = merged
    return complete


def _label(
    body: Body,
    images: Mapping[str, Body],
    flavors: Mapping[str, Body],
    top: Mapping[str, Body],
    is_static: bool,
) -> LabelSpec:
    name = body["name"]
    image, flavor = images.get(body["image"]), flavors.get(body["flavor"])
    if image is None:
        raise _Problem(f"label {name}: image {body['image']} is not attached to the provider")
    if flavor is None:
        raise _Problem(f"label {name}: flavor {body['flavor']} is not attached to the provider")
    above = top[name]
    return LabelSpec(
        name=name,
        image=_image(image),
        flavor=_flavor(flavor, is_static),
        min_ready=int(above.get("min-ready", 0)),
        max_nodes=above.get("max-nodes"),
        max_ready_age_s=int(body.get("max-ready-age", 0)),
        max_age_s=int(body.get("max-age", 0)),
        min_retention_s=int(body.get("min-retention-time", 0)),
        boot_timeout_s=int(body.get("boot-timeout", 300)),
        aliases=_names(body.get("aliases")),
        reuse=is_static or bool(body.get("reuse", False)),
        executor_zone=body.get("executor-zone"),
        tags=body["tags"],
        key_name=body.get("key-name"),
        host_key_checking=bool(body.get("host-key-checking", True)),
        az=body.get("az"),
        auto_floating_ip=bool(body.get("auto-floating-ip", True)),
        boot_from_volume=bool(body.get("boot-from-volume", False)),
        networks=_names(body.get("networks")),
        security_groups=_names(body.get("security-groups")),
        userdata=body.get("userdata"),
        volume_size_gb=body.get("volume-size"),
    )


def _image(body: Body) -> ImageSpec:
    kind = body.get("type", "cloud")
    connection_type = body.get("connection-type", "ssh")
    return ImageSpec(
        name=body["name"],
        type=kind,
        image_id=body.get("image-id"),
        filters=body.get("image-filters") or {},
        username=body.get("username"),
        connection_type=connection_type,
        connection_port=int(body.get("connection-port", 5986 if connection_type == "winrm" else 22)),
        python_path=body.get("python-path", "auto"),
        shell_type=body.get("shell-type"),
        import_timeout_s=int(body.get("import-timeout", 300)),
        upload_methods=_names(body.get("upload-methods")) or ("copy", "import", "upload"),
        config_drive=bool(body.get("config-drive", True)),
        userdata=body.get("userdata"),
        volume_size_gb=body.get("volume-size"),
        tags=body["tags"],
    )


def _flavor(body: Body, is_static: bool) -> FlavorSpec:
    name = body.get("flavor-name")
    if name is None and body.get("min-ram") is not None:
        name = f"min-ram:{body['min-ram']}"
    if name is None and not is_static:
        raise _Problem(f"flavor {body['name']} has no flavor-name")
    return FlavorSpec(
        name=body["name"],
        flavor_name=str(name or ""),
        min_ram_mib=body.get("min-ram"),
        userdata=body.get("userdata"),
        volume_size_gb=body.get("volume-size"),
        public_ipv4=bool(body.get("public-ipv4", False)),
        public_ipv6=bool(body.get("public-ipv6", False)),
    )


def _static_node(body: Body) -> StaticNode:
    return StaticNode(
        name=body["name"],
        label=body["label"],
        connection_port=int(body.get("connection-port", 22)),
        username=body.get("username"),
        aliases=_names(body.get("aliases")),
        host_key=body.get("host-key"),
    )


def _resources(body: Body) -> Resources:
    return Resources(
        instances=body.get("instances"),
        cores=body.get("cores"),
        ram_mib=body.get("ram"),
        volumes=body.get("volumes"),
        volume_gb=body.get("volume-gb"),
    )


def _names(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _required(options: Mapping[str, str], key: str, where: str) -> str:
    value = options.get(key)
    if not value:
        raise _Problem(f"{where} has no {key}")
    return value
