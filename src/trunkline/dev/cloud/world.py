"""The objects: clouds with users and tokens, regions with everything else. Handlers change them; no HTTP here."""

import asyncio
import hashlib
import ipaddress
import secrets
import socket
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trunkline.dev.cloud.faults import Faults
from trunkline.dev.cloud.hypervisor import Sandbox, listening_socket
from trunkline.dev.cloud.ledger import Ledger
from trunkline.dev.cloud.profiles import PROFILES
from trunkline.dev.cloud.spec import SSH_PORT, RegionSpec, WorldSpec
from trunkline.dev.cloud.timing import Pace

Record = dict[str, Any]

TOKEN_LIFE_S = 24 * 3600


def new_id() -> str:
    return str(uuid.uuid4())


def hex_id(*words: str) -> str:
    """An id that is the same in every run."""
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:32]


def fixed_uuid(*words: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(words)))


def stamp(at: float | None = None, pattern: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime(pattern)


MICROS = "%Y-%m-%dT%H:%M:%S.000000"


@dataclass
class Token:
    id: str
    user_id: str
    user_name: str
    project_id: str
    project_name: str
    is_admin: bool
    method: str
    expires_at: float
    issued_at: float


@dataclass
class User:
    id: str
    name: str
    password: str
    project_id: str
    project_name: str
    is_admin: bool


class Cloud:
    """One account at one provider: what its regions share."""

    def __init__(self, name: str, spec: RegionSpec) -> None:
        self.name = name
        self.profile = PROFILES[spec.profile]
        self.project_id = hex_id(name, "project")
        admin_project = hex_id(name, "admin-project")
        self.users = [
            User(hex_id(name, "user"), spec.username, spec.password, self.project_id, spec.project, False),
            User(hex_id(name, "admin"), "admin", spec.password, admin_project, "admin", True),
        ]
        self.tokens: dict[str, Token] = {}
        self.credentials: dict[str, Record] = {}
        self.regions: list[Region] = []
        self.identity_url = ""

    def issue(self, user: User, method: str, is_scoped: bool = True) -> Token:
        now = time.time()
        token = Token(
            id="gAAAAA" + secrets.token_urlsafe(40),
            user_id=user.id,
            user_name=user.name,
            project_id=user.project_id if is_scoped else "",
            project_name=user.project_name if is_scoped else "",
            is_admin=user.is_admin,
            method=method,
            expires_at=now + TOKEN_LIFE_S,
            issued_at=now,
        )
        self.tokens[token.id] = token
        return token

    def token(self, ident: str | None) -> Token | None:
        """The token, if it is known and not yet expired."""
        token = self.tokens.get(ident or "")
        if token is not None and token.expires_at <= time.time():
            del self.tokens[token.id]
            return None
        return token


@dataclass
class Server:
    """What nova knows of a server, and its host."""

    id: str
    name: str
    project_id: str
    user_id: str
    image_id: str
    flavor: Record
    metadata: dict[str, str]
    key_name: str | None
    public_keys: list[str]
    user_data: str
    config_drive: bool
    availability_zone: str
    created: float
    updated: float
    status: str = "BUILD"
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    power_state: int = 0
    launched: float | None = None
    terminated: float | None = None
    fault: Record | None = None
    is_locked: bool = False
    description: str | None = None
    tags: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    own_ports: list[str] = field(default_factory=list)
    """Ports that nova made and takes away with the server."""
    security_groups: list[str] = field(default_factory=list)
    volumes: list[Record] = field(default_factory=list)
    group_id: str | None = None
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    console: str = ""
    actions: list[Record] = field(default_factory=list)
    reservation_id: str = field(default_factory=lambda: "r-" + secrets.token_hex(4))
    host: Any = None
    is_ghost: bool = False
    is_reachable: bool = False
    """Whether SSH has been let out: addresses that are added from now on answer at once."""
    never_ssh: bool = False
    changes_host_key: bool = False
    ssh_at: float | None = None


class Region:
    """One region: its objects by kind and id."""

    def __init__(self, spec: RegionSpec, cloud: Cloud, world: "World") -> None:
        self.spec = spec
        self.cloud = cloud
        self.profile = PROFILES[spec.profile]
        self.world = world
        self.faults = world.faults
        self.pace = Pace(world.spec.seed, f"{spec.cloud}/{spec.region}", world.spec.factor)
        self.ledger = Ledger()
        self.endpoint = ""
        self.octets, self._claim = claim_network()
        self.quota: dict[str, int] = {name: getattr(spec.quota, name) for name in spec.quota.__struct_fields__}
        self.flavors: dict[str, Record] = {}
        self.keypairs: dict[str, Record] = {}
        self.server_groups: dict[str, Record] = {}
        self.servers: dict[str, Server] = {}
        self.deleted_servers: dict[str, Server] = {}
        self.images: dict[str, Record] = {}
        self.image_data: dict[str, bytes] = {}
        self.tasks: dict[str, Record] = {}
        self.networks: dict[str, Record] = {}
        self.subnets: dict[str, Record] = {}
        self.ports: dict[str, Record] = {}
        self.routers: dict[str, Record] = {}
        self.floating_ips: dict[str, Record] = {}
        self.security_groups: dict[str, Record] = {}
        self.volumes: dict[str, Record] = {}
        self.snapshots: dict[str, Record] = {}
        self.objects: dict[str, dict[str, Record]] = {}
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def label(self) -> str:
        return f"{self.spec.cloud}/{self.spec.region}"

    @property
    def scope(self) -> dict[str, str]:
        return {"cloud": self.spec.cloud, "region": self.spec.region}

    def public_address(self, number: int) -> str:
        return f"127.{self.octets[0]}.{self.octets[1]}.{number}"

    def private_address(self, number: int) -> str:
        return f"127.{self.octets[0] + 32}.{self.octets[1]}.{number}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with something after the answer has been sent."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.report(self.label, error)

    def strikes(self, kind: str, server: Server | None = None, path: str = "", **scope: str) -> Any:
        names = (server.id, server.name) if server is not None else ()
        return self.faults.strikes(kind, path=path, server=names, **self.scope, **scope)

    def used(self) -> dict[str, int]:
        """What counts against the quota of compute and floating addresses."""
        alive = list(self.servers.values())
        return {
            "instances": len(alive),
            "cores": sum(server.flavor["vcpus"] for server in alive),
            "ram": sum(server.flavor["ram"] for server in alive),
            "floating_ips": len(self.floating_ips),
        }

    def note_peaks(self) -> None:
        for what, value in self.used().items():
            self.ledger.peak(what, value)

    def close(self) -> None:
        for task in list(self._running):
            task.cancel()
        self._claim.close()


class World:
    """Everything the process emulates."""

    def __init__(self, spec: WorldSpec, sandbox: Sandbox | None, report: Any) -> None:
        self.spec = spec
        self.sandbox = sandbox
        self.report = report
        self.faults = Faults(spec.seed)
        self.clouds: dict[str, Cloud] = {}
        self.regions: list[Region] = []
        for region_spec in spec.regions:
            cloud = self.clouds.setdefault(region_spec.cloud, Cloud(region_spec.cloud, region_spec))
            region = Region(region_spec, cloud, self)
            cloud.regions.append(region)
            self.regions.append(region)

    def close(self) -> None:
        for region in self.regions:
            for server in region.servers.values():
                if server.host is not None:
                    server.host.kill()
            region.close()


def claim_network() -> tuple[tuple[int, int], socket.socket]:
    """Take a /24 of loopback for a region: whoever listens on its .1 has it."""
    for first in range(64, 96):
        for second in range(1, 255):
            try:
                return (first, second), listening_socket(f"127.{first}.{second}.1", SSH_PORT)
            except OSError:
                continue
    raise RuntimeError("no loopback network is free for a region")


def is_reachable_address(address: str) -> bool:
    """Whether a host can listen there: everything else exists in the API only."""
    return ipaddress.ip_address(address).is_loopback
