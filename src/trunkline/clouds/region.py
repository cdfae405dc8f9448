"""One account in one region of one cloud. Everything here blocks; call it from a worker thread."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openstack
import openstack.config
from msgspec import Struct
from openstack import exceptions as sdk
from openstack.utils import supports_microversion

from trunkline.clouds import images, network
from trunkline.clouds.limiter import LimitedTransport, Limiter
from trunkline.clouds.network import Address, Addresses, Network
from trunkline.clouds.vendors import Profile, place_of, profile_of
from trunkline.pool.model import ImageSpec, LabelSpec, Offer, ProviderSpec, Resources, Vendor

warnings.filterwarnings("ignore", module=r"openstack\.")  # deprecations inside the SDK, on every call

OWNER_KEY = "trunkline_owner"  # whose server it is
NODE_KEY = "trunkline_node"  # which of our nodes it is
API_TIMEOUT_S = 30.0


class ServerSeen(Struct, frozen=True):
    """A server as one line of the list shows it."""

    id: str
    name: str
    status: str
    task_state: str | None = None
    fault: str | None = None
    az: str | None = None
    host_id: str | None = None
    owner: str | None = None
    node_id: str | None = None
    flavor: str = ""
    uses: Resources = Resources(instances=1)
    addresses: tuple[Address, ...] = ()


class Region:
    """The adapter. `owner` is stamped on everything that is created, and only what carries it is ever deleted."""

    def __init__(
        self,
        cloud: str,
        region: str,
        *,
        owner: str,
        config_file: str | None = None,
        limiter: Limiter | None = None,
        timeout_s: float = API_TIMEOUT_S,
    ) -> None:
        self.cloud, self.region, self.owner = cloud, region, owner
        self.limiter = limiter or Limiter(2.0)
        loader = (
            openstack.config.OpenStackConfig(config_files=[config_file], load_envvars=False)
            if config_file
            else openstack.config.OpenStackConfig()
        )
        self.config = loader.get_one(
            cloud=cloud, region_name=region or None, app_name="trunkline", api_timeout=timeout_s
        )
        self.entry: Mapping[str, Any] = self.config.config
        self.profile: Profile = profile_of(cloud, self.entry.get("profile"))
        self._timeout_s = timeout_s
        self._conn: Any = None
        self._lock = threading.Lock()
        self._networks: tuple[Network, ...] | None = None
        self._flavors_by_id: dict[str, Resources] = {}
        self._flavor_ids: dict[str, str] = {}  # by the name that specs use

    # -- the connection

    @property
    def conn(self) -> Any:
        """The SDK's connection, made at first use."""
        with self._lock:
            if self._conn is None:
                conn = openstack.connection.Connection(config=self.config)
                session = conn.session
                transport = LimitedTransport(self.limiter, self._timeout_s)
                for scheme in ("http://", "https://"):
                    session.session.mount(scheme, transport)
                self._conn = conn
            return self._conn

    def forget_connection(self) -> None:
        """Start again with a new token and a new catalog."""
        with self._lock:
            if self._conn is not None:
                self._conn.close()
            self._conn, self._networks = None, None

    @property
    def place(self) -> Vendor:
        return place_of(self.cloud, self.region, self.entry)

    @property
    def has_network(self) -> bool:
        return bool(self.entry.get("has_network", True))

    @property
    def image_format(self) -> str:
        return str(self.entry.get("image_format") or self.profile.image_format)

    @property
    def image_method(self) -> str:
        if self.entry.get("image_api_use_tasks"):
            return "task"
        return "import" if self.entry.get("image_api_use_import") else self.profile.image_method

    @property
    def floating_ip_rule(self) -> str:
        if str(self.entry.get("floating_ip_source") or "").lower() == "none" or not self.has_network:
            return "none"
        said = self.entry.get("requires_floating_ip")
        if said is not None and str(said).lower() in ("true", "false"):
            return "required" if str(said).lower() == "true" else "none"
        return self.profile.floating_ip

    # -- what there is

    def servers(self) -> list[ServerSeen]:
        """Every server of the account, ours or not, from one detailed list."""
        return [self._seen(server) for server in self.conn.compute.servers(details=True)]

    def server(self, server_id: str) -> ServerSeen | None:
        try:
            return self._seen(self.conn.compute.get_server(server_id))
        except sdk.NotFoundException:
            return None

    def limits(self, *, with_volumes: bool = False) -> Resources:
        """What the cloud says the account may have. -1 means that it does not say."""
        absolute = self.conn.compute.get_limits().absolute
        volumes = self.conn.block_storage.get_limits().absolute if with_volumes else None
        return Resources(
            instances=absolute.instances,
            cores=absolute.total_cores,
            ram_mib=absolute.total_ram,
            volumes=volumes.max_total_volumes if volumes else None,
            volume_gb=volumes.max_total_volume_gigabytes if volumes else None,
        )

    def offer(self, specs: Sequence[ProviderSpec], uploads: Mapping[str, str]) -> Offer:
        """Which flavors and images that the specs ask for are here. uploads: our images, name → id in the region."""
        labels = [label for spec in specs for label in spec.labels]
        flavors, problems = self._flavors({label.flavor.flavor_name for label in labels})
        found: dict[str, str] = {}
        available = [i for i in self.conn.image.images() if i.status == "active"]
        for image in {label.image.name: label.image for label in labels}.values():
            if image.type == "zuul":
                if image.name in uploads:
                    found[image.name] = uploads[image.name]
                continue
            image_id = _find_image(image, available)
            if image_id:
                found[image.name] = image_id
            else:
                wanted = image.image_id or ", ".join(f"{k} ~ {v}" for k, v in image.filters.items())
                problems[f"image:{image.name}"] = f"{self.cloud}/{self.region} has no image {wanted}"
        return Offer(flavors=flavors, images=found, problems=problems, azs=self._zones())

    def _flavors(self, wanted: set[str]) -> tuple[dict[str, Resources], dict[str, str]]:
        available = list(self.conn.compute.flavors(details=True))
        self._flavors_by_id = {f.id: _flavor_resources(f) for f in available}
        found, problems = {}, {}
        for name in wanted:
            if name.startswith("min-ram:"):
                least = int(name.removeprefix("min-ram:"))
                match = min((f for f in available if f.ram >= least), key=lambda f: (f.ram, f.vcpus), default=None)
            else:
                match = next((f for f in available if name in (f.name, f.id)), None)
            if match is None:
                problems[f"flavor:{name}"] = f"{self.cloud}/{self.region} has no flavor {name}"
            else:
                found[name] = _flavor_resources(match)
                self._flavor_ids[name] = match.id
        return found, problems

    def _zones(self) -> tuple[str, ...]:
        try:
            zones = self.conn.compute.availability_zones()
            return tuple(sorted(z.name for z in zones if (z.state or {}).get("available", True)))
        except sdk.HttpException:
            return ()

    def networks(self) -> tuple[Network, ...]:
        if self._networks is None:
            if not self.has_network:
                self._networks = ()
            else:
                self._networks = tuple(
                    Network(n.id, n.name, bool(n.is_router_external), bool(n.is_shared))
                    for n in self.conn.network.networks()
                )
        return self._networks

    # -- servers

    def create_server(
        self,
        node_id: str,
        label: LabelSpec,
        image_id: str,
        *,
        az: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Ask for a server, stamped with who owns it and which node it is. Returns its id; it is not active yet."""
        networks = network.choose_networks(label.networks, self.networks()) if self.has_network else None
        values: dict[str, Any] = {
            "name": f"np{node_id[:13]}",
            "flavor_id": self._flavor_ids[label.flavor.flavor_name],
            "metadata": {OWNER_KEY: self.owner, NODE_KEY: node_id, **(tags or {})},
            "config_drive": label.image.config_drive,
        }
        if networks is not None:
            values["networks"] = [{"uuid": n} for n in networks]
        elif supports_microversion(self.conn.compute, "2.37"):
            values["networks"] = "auto"
        userdata = label.userdata or label.flavor.userdata or label.image.userdata
        if userdata:
            values["user_data"] = base64.b64encode(userdata.encode()).decode()
        if label.key_name:
            values["key_name"] = label.key_name
        if az:
            values["availability_zone"] = az
        if label.security_groups:
            values["security_groups"] = [{"name": name} for name in label.security_groups]
        size_gb = label.volume_size_gb or label.flavor.volume_size_gb or label.image.volume_size_gb
        if label.boot_from_volume:
            values["block_device_mapping"] = [_volume(image_id, size_gb or 20)]
        else:
            values["image_id"] = image_id
        return str(self.conn.compute.create_server(**values).id)

    def delete_server(self, server_id: str) -> None:
        """Ask for deletion; gone when it is in no list and `server` says None. A server that is gone is no error."""
        self.conn.compute.delete_server(server_id, ignore_missing=True)

    def console_log(self, server_id: str) -> str:
        """The end of the console, or nothing: not every cloud has one."""
        try:
            return str(self.conn.compute.get_server_console_output(server_id, length=100).get("output") or "")
        except sdk.SDKException:
            return ""

    def addresses(self, server: ServerSeen) -> Addresses:
        return network.sort_addresses(server.addresses, self.networks(), self.has_network)

    def needs_floating_ip(self, server: ServerSeen, label: LabelSpec) -> bool:
        return label.auto_floating_ip and network.needs_floating_ip(
            server.addresses, self.networks(), self.floating_ip_rule
        )

    def attach_floating_ip(self, server: ServerSeen) -> tuple[str, str]:
        """Returns (id of the floating IP, address)."""
        return network.attach_floating_ip(
            self.conn, server.id, self.networks(), self._description(server.node_id or "")
        )

    def floating_ips(self) -> dict[str, str]:
        """Our floating IPs: id → id of the node that it was made for."""
        if self.floating_ip_rule == "none":
            return {}
        prefix = self._description("")
        ips = self.conn.network.ips()
        return {ip.id: (ip.description or "")[len(prefix) :] for ip in ips if (ip.description or "").startswith(prefix)}

    def delete_floating_ip(self, ip_id: str) -> None:
        self.conn.network.delete_ip(ip_id, ignore_missing=True)

    # -- keys and images

    def ensure_keypair(self, name: str, public_key: str) -> None:
        """Have a key pair of this name. One that is there already is left as it is: it may be somebody else's."""
        try:
            self.conn.compute.get_keypair(name)
        except sdk.NotFoundException:
            with contextlib.suppress(sdk.ConflictException):  # another launcher was faster
                self.conn.compute.create_keypair(name=name, public_key=public_key)

    def find_upload(self, file: images.ImageFile) -> str | None:
        for image in self.conn.image.images(name=file.cloud_name):
            if image.name == file.cloud_name and image.status == "active":
                return str(image.id)
        return None

    def upload(self, file: images.ImageFile, timeout_s: float) -> str:
        return images.upload(self.conn, file, self.image_method, self.owner, timeout_s)

    def image_file(self, directory: Path, image: str) -> images.ImageFile | None:
        return images.find_file(directory, image, self.image_format)

    # -- reading

    def _description(self, node_id: str) -> str:
        return f"trunkline {self.owner} {node_id}"

    def _seen(self, server: Any) -> ServerSeen:
        metadata = dict(server.metadata or {})
        fault = (server.fault or {}).get("message") if isinstance(server.fault, Mapping) else None
        flavor = server.flavor
        uses = Resources(instances=1)
        if flavor is not None and getattr(flavor, "vcpus", None):
            uses = Resources(instances=1, cores=flavor.vcpus, ram_mib=flavor.ram)
        elif flavor is not None and flavor.id in self._flavors_by_id:
            known = self._flavors_by_id[flavor.id]
            uses = Resources(instances=1, cores=known.cores, ram_mib=known.ram_mib)
        return ServerSeen(
            id=server.id,
            name=server.name,
            status=server.status or "UNKNOWN",
            task_state=server.task_state,
            fault=fault,
            az=server.availability_zone or None,
            host_id=server.host_id or None,
            owner=metadata.get(OWNER_KEY),
            node_id=metadata.get(NODE_KEY) if metadata.get(OWNER_KEY) == self.owner else None,
            uses=uses,
            addresses=network.read_addresses(server.addresses),
        )


def _find_image(spec: ImageSpec, available: Sequence[Any]) -> str | None:
    """The image of this id or name, or the newest that passes every filter (regular expressions on properties)."""
    matches = [
        image
        for image in available
        if (spec.image_id and spec.image_id in (image.id, image.name))
        or (spec.filters and all(_passes(image, key, pattern) for key, pattern in spec.filters.items()))
    ]
    newest = max(matches, key=lambda image: (str(image.created_at or ""), image.id), default=None)
    return str(newest.id) if newest else None


def _passes(image: Any, key: str, pattern: str) -> bool:
    value = getattr(image, key, None) or (image.properties or {}).get(key)
    return value is not None and re.fullmatch(pattern, str(value)) is not None


def _flavor_resources(flavor: Any) -> Resources:
    return Resources(cores=flavor.vcpus, ram_mib=flavor.ram, volume_gb=flavor.disk)


def _volume(image_id: str, size_gb: int) -> dict[str, Any]:
    return {
        "boot_index": 0,
        "uuid": image_id,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": size_gb,
        "delete_on_termination": True,
    }
