"""The nouns of the pool: what is asked for, what there is, what can be had where.

Everything here is a frozen value. Times are seconds since the epoch, sizes say their unit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

RegionKey: TypeAlias = tuple[str, str]  # (cloud as clouds.yaml names it, region)


class RequestState(StrEnum):
    requested = "requested"
    accepted = "accepted"  # a provider works on it
    fulfilled = "fulfilled"
    failed = "failed"
    canceled = "canceled"


REQUEST_TRANSITIONS: dict[RequestState, frozenset[RequestState]] = {
    RequestState.requested: frozenset({RequestState.accepted, RequestState.failed, RequestState.canceled}),
    RequestState.accepted: frozenset(
        {RequestState.requested, RequestState.fulfilled, RequestState.failed, RequestState.canceled}
    ),
    RequestState.fulfilled: frozenset({RequestState.canceled}),
    RequestState.failed: frozenset(),
    RequestState.canceled: frozenset(),
}


class NodeState(StrEnum):
    requested = "requested"  # planned; the cloud may or may not have heard of it
    building = "building"  # the cloud has it; not yet reachable
    ready = "ready"
    in_use = "in-use"
    used = "used"
    hold = "hold"
    failed = "failed"  # will be deleted; its request has not looked at it yet
    deleting = "deleting"  # the row goes when the server is gone


NODE_TRANSITIONS: dict[NodeState, frozenset[NodeState]] = {
    NodeState.requested: frozenset({NodeState.building, NodeState.ready, NodeState.failed, NodeState.deleting}),
    NodeState.building: frozenset({NodeState.ready, NodeState.failed, NodeState.deleting}),
    NodeState.ready: frozenset(
        {NodeState.in_use, NodeState.used, NodeState.hold, NodeState.failed, NodeState.deleting}
    ),
    NodeState.in_use: frozenset({NodeState.used, NodeState.hold, NodeState.failed, NodeState.deleting}),
    NodeState.used: frozenset({NodeState.ready, NodeState.hold, NodeState.deleting}),
    NodeState.hold: frozenset({NodeState.used, NodeState.deleting}),
    NodeState.failed: frozenset({NodeState.deleting}),
    NodeState.deleting: frozenset(),
}


class Trouble(StrEnum):
    """Kinds of refusal and failure of a cloud; `trunkline.clouds` sorts exceptions into these."""

    auth = "auth"  # credentials refused: nothing will work until somebody mends it
    quota = "quota"  # the account is full
    capacity = "capacity"  # the cloud is full ("No valid host")
    not_found = "not-found"  # image, flavor, network or key that is not there
    rate = "rate"  # asked too often
    timeout = "timeout"  # no answer in time
    down = "down"  # no connection, or 5xx
    invalid = "invalid"  # the cloud refuses what was asked: configuration
    boot = "boot"  # the server went to ERROR, or did not become active in time
    unreachable = "unreachable"  # active, but never answered SSH
    vanished = "vanished"  # a server that was there is gone


class Resources(msgspec.Struct, frozen=True):
    """An amount of what quotas limit. As a limit, None is "no limit"; as a need or use, None is 0."""

    instances: int | None = None
    cores: int | None = None
    ram_mib: int | None = None
    volumes: int | None = None
    volume_gb: int | None = None


class Constraints(msgspec.Struct, frozen=True):
    """Where a request's servers may be. An empty tuple does not constrain.

    jurisdictions: a region counts when its jurisdiction or its country is listed ("EU", "GB", "US", "SE"…).
    regions: "cloud/region" of the only ones allowed. never_regions: of those not allowed. clouds: names of clouds
    (vendors) allowed.
    """

    jurisdictions: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    never_regions: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()


class Decline(msgspec.Struct, frozen=True):
    provider: str
    reason: str


class Request(msgspec.Struct, frozen=True):
    """All nodes of one nodeset, wanted from one provider."""

    id: str
    owner: str  # who is told: "queue:<id>", "fleet:<tenant>/<app>"
    tenant: str
    labels: tuple[str, ...]  # in node order
    priority: int = 200  # lower first: high 100, normal 200, low 300
    relative_priority: int = 0
    created: float = 0.0
    state: RequestState = RequestState.requested
    pin: str | None = None  # canonical or plain name of the only provider that may serve it
    zone: str | None = None
    constraints: Constraints | None = None
    keep: bool = False  # servers of an application: never deleted by age or use
    pipeline: str = ""
    project: str = ""
    job: str = ""
    provider: str | None = None  # canonical name of the provider at work
    node_ids: tuple[str, ...] = ()  # once fulfilled, in label order
    declined_by: tuple[Decline, ...] = ()
    failures: dict[str, int] = {}  # provider → launches that failed there


class Node(msgspec.Struct, frozen=True):
    id: str
    label: str
    provider: str  # canonical name
    cloud: str
    region: str
    state: NodeState = NodeState.requested
    state_time: float = 0.0
    created: float = 0.0
    tenant: str = ""
    request_id: str | None = None
    flavor: str = ""
    needs: Resources = Resources(instances=1)
    az: str | None = None
    server_id: str | None = None
    slot: str | None = None  # static nodes: name of the machine
    keep: bool = False
    is_static: bool = False
    reuse: bool = False
    locked_by: str | None = None
    trouble: Trouble | None = None  # of a failed node
    comment: str | None = None
    hold_expires: float | None = None

    @property
    def region_key(self) -> RegionKey:
        return self.cloud, self.region

    @property
    def is_coming(self) -> bool:
        return self.state in (NodeState.requested, NodeState.building)


class ImageSpec(msgspec.Struct, frozen=True):
    name: str
    type: str = "cloud"  # cloud | zuul
    image_id: str | None = None  # cloud images: id or name
    filters: dict[str, str] = {}  # cloud images: newest image whose properties match these patterns
    username: str | None = None
    connection_type: str = "ssh"
    connection_port: int = 22
    python_path: str = "auto"
    shell_type: str | None = None
    import_timeout_s: int = 300
    upload_methods: tuple[str, ...] = ("copy", "import", "upload")
    config_drive: bool = True
    userdata: str | None = None
    volume_size_gb: int | None = None
    tags: dict[str, str] = {}


class FlavorSpec(msgspec.Struct, frozen=True):
    name: str
    flavor_name: str  # name or id in the cloud
    min_ram_mib: int | None = None  # instead of a name: the smallest with at least this
    userdata: str | None = None
    volume_size_gb: int | None = None
    public_ipv4: bool = False
    public_ipv6: bool = False


class LabelSpec(msgspec.Struct, frozen=True):
    name: str
    image: ImageSpec
    flavor: FlavorSpec
    min_ready: int = 0
    max_nodes: int | None = None
    max_ready_age_s: int = 0
    max_age_s: int = 0
    min_retention_s: int = 0
    boot_timeout_s: int = 300
    aliases: tuple[str, ...] = ()  # other labels that its ready nodes may serve
    reuse: bool = False
    executor_zone: str | None = None
    tags: dict[str, str] = {}
    key_name: str | None = None
    host_key_checking: bool = True
    az: str | None = None
    auto_floating_ip: bool = True
    boot_from_volume: bool = False
    networks: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    userdata: str | None = None
    volume_size_gb: int | None = None


class StaticNode(msgspec.Struct, frozen=True):
    name: str  # host or address
    label: str
    connection_port: int = 22
    username: str | None = None
    aliases: tuple[str, ...] = ()
    host_key: str | None = None


class ProviderSpec(msgspec.Struct, frozen=True):
    """One provider of a tenant's layout, flattened and completed: everything needed to make nodes there."""

    tenant: str
    name: str
    canonical_name: str
    driver: str  # openstack | static
    connection: str
    cloud: str  # openstack: entry in clouds.yaml; static: the connection's name
    region: str  # openstack: region in that entry ("" = its only one); static: the provider's canonical name
    labels: tuple[LabelSpec, ...] = ()
    client_config_file: str | None = None
    rate: float = 2.0  # calls per second
    limits: Resources = Resources()
    launch_timeout_s: int | None = None
    launch_attempts: int = 3
    floating_ip_cleanup: bool = False
    port_cleanup_interval_s: int = 600
    static_nodes: tuple[StaticNode, ...] = ()

    @property
    def region_key(self) -> RegionKey:
        return self.cloud, self.region

    def label(self, name: str) -> LabelSpec | None:
        return next((label for label in self.labels if label.name == name), None)


class Vendor(msgspec.Struct, frozen=True):
    """Where a region is, from the table in `trunkline.clouds.vendors`."""

    name: str
    city: str = ""
    country: str = ""  # ISO 3166 alpha-2
    jurisdiction: str = ""  # "EU" for members of the Union, else the country
    lat: float | None = None
    lon: float | None = None


class RegionStatus(StrEnum):
    healthy = "healthy"
    degraded = "degraded"  # works, but with care: one launch at a time
    down = "down"  # circled out; probed now and then


class Ceiling(msgspec.Struct, frozen=True):
    """A limit that a refusal taught: at `learned` the cloud refused more than `limit` of `resource`. It rises again."""

    resource: str
    limit: int
    learned: float


class Avoid(msgspec.Struct, frozen=True):
    """A flavor (in an AZ, or any) that the cloud had no room for, until a time."""

    flavor: str
    az: str
    until: float
    times: int = 1


class ProviderHealth(msgspec.Struct, frozen=True):
    """What experience says about one provider region. `pool.health.observe` folds outcomes into it."""

    status: RegionStatus = RegionStatus.healthy
    reason: str = ""
    since: float = 0.0
    failures: int = 0  # API failures in a row
    boot_failures: int = 0  # launches that failed in a row
    openings: int = 0  # how often the circuit opened since it last was well: sets the pause
    probe_at: float = 0.0
    ceilings: tuple[Ceiling, ...] = ()
    avoid: tuple[Avoid, ...] = ()
    ready_s: float | None = None  # expected seconds from create to ready (moving average)
    ready_dev_s: float = 0.0


class Quota(msgspec.Struct, frozen=True):
    """What the cloud says about the account. unmanaged: used there by servers that are not ours."""

    limits: Resources = Resources()
    unmanaged: Resources = Resources()


class Offer(msgspec.Struct, frozen=True):
    """What a region was seen to have, of what the providers' labels ask for."""

    flavors: dict[str, Resources] = {}  # by the name that specs use
    images: dict[str, str] = {}  # by the name that specs use → id there
    problems: dict[str, str] = {}  # "image:<name>" or "flavor:<name>" → why it cannot be had
    azs: tuple[str, ...] = ()


class RegionFacts(msgspec.Struct, frozen=True):
    """One provider region as last seen."""

    cloud: str
    region: str
    vendor: Vendor = Vendor(name="")
    health: ProviderHealth = ProviderHealth()
    quota: Quota = Quota()
    offer: Offer = Offer()
    seen: float | None = None  # None: nobody has looked yet

    @property
    def key(self) -> RegionKey:
        return self.cloud, self.region

    @property
    def name(self) -> str:
        return f"{self.cloud}/{self.region}"


class World(msgspec.Struct, frozen=True):
    """All that a plan is made from."""

    requests: dict[str, Request] = {}
    nodes: dict[str, Node] = {}
    providers: tuple[ProviderSpec, ...] = ()
    regions: dict[RegionKey, RegionFacts] = {}
    tenant_limits: dict[str, Resources] = {}
