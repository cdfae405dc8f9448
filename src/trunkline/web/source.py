"""Where the answers come from: one query or action for each thing that a route needs.

Rules of this file: plain values only (dicts as they go out on the wire, in the shapes of docs/rest.md); a method that
finds nothing returns None where a single thing was asked for, else an empty list; an unknown tenant never reaches a
method other than `tenant`. Nothing here knows HTTP.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

Json = dict[str, Any]


class TenantInfo(msgspec.Struct, frozen=True):
    """A tenant, as far as every route must know it."""

    name: str
    ready: bool = True  # a layout is in force; False answers 422
    web_root: str | None = None
    anonymous_read_access: bool = True
    authentication_realm: str | None = None
    access_rules: tuple[str, ...] = ()
    admin_rules: tuple[str, ...] = ()
    role_mappings: Mapping[str, tuple[str, ...]] = {}  # rule → roles
    launcher_providers: bool = False


class ApiRoot(msgspec.Struct, frozen=True):
    """Rules for routes that belong to no tenant."""

    authentication_realm: str | None = None
    anonymous_read_access: bool = True
    access_rules: tuple[str, ...] = ()
    role_mappings: Mapping[str, tuple[str, ...]] = {}


class Authorisation(msgspec.Struct, frozen=True):
    """`authorization-rule` and `role` objects of the tenant file."""

    root: ApiRoot = ApiRoot()
    rules: Mapping[str, tuple[Json, ...]] = {}  # name → conditions, one of which must hold
    roles: Mapping[str, Json] = {}  # name → {permission: True | {"conditions": {…}}}


class BuildQuery(msgspec.Struct, frozen=True):
    """Filters of builds, buildsets and build times. Several values of one key are an OR; `*` is a wildcard in
    project, pipeline, branch and job_name."""

    project: tuple[str, ...] = ()
    pipeline: tuple[str, ...] = ()
    change: tuple[int, ...] = ()
    branch: tuple[str, ...] = ()
    patchset: tuple[str, ...] = ()
    ref: tuple[str, ...] = ()
    newrev: tuple[str, ...] = ()
    uuid: tuple[str, ...] = ()
    job_name: tuple[str, ...] = ()
    queue_item_uuid: tuple[str, ...] = ()
    nodeset: tuple[str, ...] = ()
    result: tuple[str, ...] = ()
    exclude_result: tuple[str, ...] = ()
    voting: bool | None = None
    final: bool | None = None
    held: bool | None = None
    complete: bool | None = None
    start_time: str | None = None  # build-times: not before
    end_time: str | None = None  # build-times: not after
    idx_min: int | None = None
    idx_max: int | None = None
    limit: int = 50
    skip: int = 0


class BuildConsole(msgspec.Struct, frozen=True):
    """Where the console of a build can be read."""

    state: str  # requested, running, paused, complete
    executor: str | None = None  # "host:port" of the finger port


class Refused(Exception):
    """An action that cannot be done as asked; becomes the status code with the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ConfigSource(Protocol):
    """What the layout in force says."""

    async def jobs(self, tenant: str) -> list[Json]: ...
    async def job(self, tenant: str, name: str) -> list[Json]: ...
    async def projects(self, tenant: str) -> list[Json]: ...
    async def project(self, tenant: str, name: str) -> Json | None: ...
    async def pipelines(self, tenant: str) -> list[Json]: ...
    async def labels(self, tenant: str) -> list[Json]: ...
    async def flavors(self, tenant: str) -> list[Json]: ...
    async def images(self, tenant: str) -> list[Json]: ...
    async def providers(self, tenant: str) -> list[Json]: ...
    async def semaphores(self, tenant: str) -> list[Json]: ...
    async def config_errors(self, tenant: str) -> list[Json]: ...
    async def freeze_jobs(self, tenant: str, pipeline: str, project: str, branch: str) -> list[Json] | None: ...
    async def freeze_job(self, tenant: str, pipeline: str, project: str, branch: str, job: str) -> Json | None: ...
    async def freeze_pipeline(self, tenant: str, pipeline: str, project: str, ref: str) -> list[Json] | None: ...
    async def public_key(self, tenant: str, project: str) -> str | None: ...
    async def ssh_key(self, tenant: str, project: str | None) -> str | None: ...


class HistorySource(Protocol):
    """What was built, in the shapes of builds and buildsets."""

    async def builds(self, tenant: str, query: BuildQuery) -> list[Json]: ...
    async def build(self, tenant: str, uuid: str) -> Json | None: ...
    async def buildsets(self, tenant: str, query: BuildQuery) -> list[Json]: ...
    async def buildset(self, tenant: str, uuid: str) -> Json | None: ...
    async def build_times(self, tenant: str, query: BuildQuery) -> list[Json]: ...
    async def build_console(self, tenant: str, uuid: str) -> BuildConsole | None: ...


class PoolSource(Protocol):
    """Servers: nodes, requests, regions, and what is held."""

    async def nodes(self, tenant: str) -> list[Json]: ...
    async def nodeset_requests(self, tenant: str) -> list[Json]: ...
    async def regions(self, tenant: str) -> list[Json]:
        """[{cloud, region, provider, vendor, city, country, jurisdiction, lat, lon, state, reason, since, quota, usage,
        nodes: {state: count}}]"""
        ...

    async def autoholds(self, tenant: str, project: str | None) -> list[Json]: ...
    async def autohold(self, tenant: str, request: str) -> Json | None: ...


class FleetSource(Protocol):
    """What runs where."""

    async def applications(self, tenant: str) -> list[Json]:
        """[{name, project, state, reason, wanted, healthy, commit, placement: {…}, endpoints: [{…}], rollout: {…}?,
        instances: [{id, group, provider, region, city, country, jurisdiction, lat, lon, state, healthy, published,
        address, commit, since}]}]"""
        ...

    async def endpoints(self, tenant: str, application: str) -> Json | None: ...


class Actions(Protocol):
    """What an authorised caller may ask for. Accepted, not done, when they return; Refused says why not."""

    async def enqueue(self, tenant: str, project: str, body: Json, user: str | None) -> None: ...
    async def dequeue(self, tenant: str, project: str, body: Json) -> None: ...
    async def promote(self, tenant: str, pipeline: str, changes: Sequence[str]) -> None: ...
    async def create_autohold(self, tenant: str, project: str, body: Json) -> None: ...
    async def delete_autohold(self, tenant: str, request: str) -> bool: ...
    async def set_state(self, tenant: str, body: Json) -> None: ...
    async def set_node(self, tenant: str, node: str, body: Json) -> bool: ...
    async def delete_nodeset_request(self, tenant: str, request: str) -> bool: ...


class WebSource(ConfigSource, HistorySource, PoolSource, FleetSource, Actions, Protocol):
    """Everything that the web shows or asks for."""

    async def authorisation(self) -> Authorisation: ...
    async def tenants(self) -> list[str]: ...
    async def tenant(self, name: str) -> TenantInfo | None: ...

    async def connections(self) -> list[Json]: ...
    async def components(self) -> dict[str, list[Json]]: ...

    async def status(self, tenant: str) -> Json:
        """The whole answer of the status route, made afresh (the route keeps it for a second)."""
        ...

    async def system_events(self, tenant: str, query: Json) -> list[Json]: ...

    async def explain(self, tenant: str, change: str) -> list[Json]:
        """Why a change is where it is: [{time, what, text, item, pipeline}]. First where it stands at this moment
        (with `now: true`, the most general first), then what happened, newest first."""
        ...

    def changes(self, tenant: str) -> AsyncIterator[str]:
        """Topics of which something changed, for as long as it is iterated: queues, builds, pool, fleet, config."""
        ...
