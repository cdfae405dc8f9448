"""Keystone: v3, and v2.0 for vendors that still have it. Service names of the catalog as recorded."""

import secrets
import time
from typing import Any

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes, keystone_error
from trunkline.dev.cloud.world import Cloud, Record, Token, User, fixed_uuid, hex_id, stamp

routes = Routes()

_UNAUTHORISED = "The request you have made requires authentication."
_STAMP = "%Y-%m-%dT%H:%M:%S.000000Z"
DEFAULT_DOMAIN = {"id": "default", "name": "Default"}

CATALOG = {
    "compute": ("compute", "nova", "/v2.1"),
    "image": ("image", "glance", ""),
    "network": ("network", "neutron", ""),
    "volume": ("block-storage", "cinder-v3", "/v3"),
    "placement": ("placement", "placement", ""),
    "object": ("object-store", "swift", "/v1/AUTH_{project}"),
}


def version_document(cloud: Cloud) -> Record:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{cloud.identity_url}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def version_2_document(cloud: Cloud) -> Record:
    return {
        "id": "v2.0",
        "status": "stable",
        "updated": "2014-04-17T00:00:00Z",
        "links": [{"rel": "self", "href": f"{cloud.identity_url}/v2.0/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v2.0+json"}],
    }


def catalog(cloud: Cloud, project_id: str) -> list[Record]:
    """Every service of every region, with public, internal and (identity) admin endpoints."""
    entries: dict[str, Record] = {}
    identity: Record = {"type": "identity", "name": "keystone", "id": hex_id(cloud.name, "identity"), "endpoints": []}
    for region in cloud.regions:
        identity["endpoints"] += _endpoints(cloud, region.spec.region, "identity", f"{cloud.identity_url}/v3")
        for service in region.profile.services:
            kind, name, suffix = CATALOG[service]
            entry = entries.setdefault(
                kind, {"type": kind, "name": name, "id": hex_id(cloud.name, kind), "endpoints": []}
            )
            url = f"{region.endpoint}/{service}{suffix.format(project=project_id)}"
            entry["endpoints"] += _endpoints(cloud, region.spec.region, kind, url)
    return [*entries.values(), identity]


def _endpoints(cloud: Cloud, region: str, kind: str, url: str) -> list[Record]:
    return [
        {
            "id": hex_id(cloud.name, region, kind, interface),
            "interface": interface,
            "region_id": region,
            "region": region,
            "url": url,
        }
        for interface in ("public", "internal")
    ]


def _roles(is_admin: bool) -> list[Record]:
    names = ["admin", "member", "reader"] if is_admin else ["member", "reader"]
    return [{"id": hex_id("role", name), "name": name} for name in names]


def _token_view(cloud: Cloud, token: Token, with_catalog: bool = True) -> Record:
    view: Record = {
        "methods": [token.method],
        "user": {"domain": DEFAULT_DOMAIN, "id": token.user_id, "name": token.user_name, "password_expires_at": None},
        "audit_ids": [secrets.token_urlsafe(16)],
        "expires_at": stamp(token.expires_at, _STAMP),
        "issued_at": stamp(token.issued_at, _STAMP),
    }
    if token.project_id:
        view["project"] = {"domain": DEFAULT_DOMAIN, "id": token.project_id, "name": token.project_name}
        view["is_domain"] = False
        view["roles"] = _roles(token.is_admin)
        if with_catalog:
            view["catalog"] = catalog(cloud, token.project_id)
    return view


def _refuse() -> Refusal:
    return Refusal(keystone_error(401, _UNAUTHORISED))


@routes.add("POST", "/v3/auth/tokens")
async def create_token(call: Call) -> Answer:
    auth = call.body.get("auth") if isinstance(call.body, dict) else None
    identity = auth.get("identity") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not isinstance(identity, dict) or not identity.get("methods"):
        raise Refusal(keystone_error(400, "'identity' is a required property"))
    method = identity["methods"][0]
    user = _user_of(call.cloud, method, identity)
    scope = auth.get("scope")
    is_scoped = True
    if isinstance(scope, dict) and "project" in scope:
        project = scope["project"]
        if (
            project.get("id", user.project_id) != user.project_id
            or project.get("name", user.project_name) != user.project_name
        ):
            raise _refuse()
    elif method == "password" and scope != "unscoped" and not scope:
        is_scoped = True
    elif scope:
        is_scoped = False
    token = call.cloud.issue(user, method, is_scoped)
    view = _token_view(call.cloud, token, with_catalog="nocatalog" not in call.query)
    return Answer(201, {"token": view}, {"X-Subject-Token": token.id})


def _user_of(cloud: Cloud, method: str, identity: Record) -> User:
    if method == "password":
        wanted = (identity.get("password") or {}).get("user") or {}
        for user in cloud.users:
            if wanted.get("password") == user.password and (
                wanted.get("id") == user.id or wanted.get("name") == user.name
            ):
                return user
    elif method == "token":
        token = cloud.token((identity.get("token") or {}).get("id"))
        if token is not None:
            return next(user for user in cloud.users if user.id == token.user_id)
    elif method == "application_credential":
        wanted = identity.get("application_credential") or {}
        for credential in cloud.credentials.values():
            if wanted.get("secret") == credential["secret"] and _names(wanted, credential):
                if credential["expires_at"] and credential["expires_at"] < stamp(pattern=_STAMP):
                    raise _refuse()
                return next(user for user in cloud.users if user.id == credential["user_id"])
    raise _refuse()


def _names(wanted: Record, credential: Record) -> bool:
    if "id" in wanted:
        return bool(wanted["id"] == credential["id"])
    user = wanted.get("user") or {}
    return bool(wanted.get("name") == credential["name"] and (user.get("id") or user.get("name")))


@routes.add("GET", "/v3/auth/tokens")
@routes.add("HEAD", "/v3/auth/tokens")
async def validate_token(call: Call) -> Answer:
    token = call.cloud.token(call.headers.get("X-Subject-Token"))
    if token is None:
        raise Refusal(keystone_error(404, "Could not find token."))
    return Answer(200, {"token": _token_view(call.cloud, token)}, {"X-Subject-Token": token.id})


@routes.add("DELETE", "/v3/auth/tokens")
async def revoke_token(call: Call) -> Answer:
    call.cloud.tokens.pop(call.headers.get("X-Subject-Token", ""), None)
    return Answer(204)


@routes.add("GET", "/v3/auth/catalog")
async def show_catalog(call: Call) -> Answer:
    return Answer(200, {"catalog": catalog(call.cloud, call.project), "links": {"self": f"{call.base}/auth/catalog"}})


def _project_view(call: Call, ident: str, name: str) -> Record:
    return {
        "id": ident,
        "name": name,
        "domain_id": "default",
        "description": "",
        "enabled": True,
        "parent_id": "default",
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{call.base}/projects/{ident}"},
    }


def _projects(call: Call) -> list[Record]:
    return [_project_view(call, user.project_id, user.project_name) for user in call.cloud.users]


def _own_projects(call: Call) -> list[Record]:
    assert call.token is not None
    user = next(user for user in call.cloud.users if user.id == call.token.user_id)
    return [_project_view(call, user.project_id, user.project_name)]


def _collection(call: Call, name: str, rows: list[Record]) -> Answer:
    return Answer(200, {name: rows, "links": {"next": None, "self": f"{call.base}{call.path[3:]}", "previous": None}})


@routes.add("GET", "/v3/auth/projects")
async def auth_projects(call: Call) -> Answer:
    return _collection(call, "projects", _own_projects(call))


@routes.add("GET", "/v3/auth/domains")
async def auth_domains(call: Call) -> Answer:
    return _collection(call, "domains", [])


@routes.add("GET", "/v3/users/{id}/projects")
async def user_projects(call: Call) -> Answer:
    _own(call)
    return _collection(call, "projects", _own_projects(call))


@routes.add("GET", "/v3/users/{id}")
async def show_user(call: Call) -> Answer:
    _own(call)
    user = next((user for user in call.cloud.users if user.id == call.arguments["id"]), None)
    if user is None:
        raise Refusal(keystone_error(404, f"Could not find user: {call.arguments['id']}."))
    view = {
        "id": user.id,
        "name": user.name,
        "domain_id": "default",
        "enabled": True,
        "default_project_id": user.project_id,
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{call.base}/users/{user.id}"},
    }
    return Answer(200, {"user": view})


def _own(call: Call) -> None:
    assert call.token is not None
    if not call.is_admin and call.arguments["id"] != call.token.user_id:
        raise Refusal(keystone_error(403, "You are not authorized to perform the requested action: identity:get_user."))


@routes.add("GET", "/v3/projects")
async def list_projects(call: Call) -> Answer:
    if not call.is_admin:
        raise Refusal(
            keystone_error(403, "You are not authorized to perform the requested action: identity:list_projects.")
        )
    rows = [row for row in _projects(call) if call.query.get("name") in (None, row["name"])]
    return _collection(call, "projects", rows)


@routes.add("GET", "/v3/projects/{id}")
async def show_project(call: Call) -> Answer:
    rows = _projects(call) if call.is_admin else _own_projects(call)
    for row in rows:
        if row["id"] == call.arguments["id"]:
            return Answer(200, {"project": row})
    if call.is_admin:
        raise Refusal(keystone_error(404, f"Could not find project: {call.arguments['id']}."))
    raise Refusal(keystone_error(403, "You are not authorized to perform the requested action: identity:get_project."))


@routes.add("GET", "/v3/regions")
async def list_regions(call: Call) -> Answer:
    rows = [{"id": region.spec.region, "description": "", "parent_region_id": None} for region in call.cloud.regions]
    return _collection(call, "regions", rows)


def _credential_view(call: Call, credential: Record, with_secret: bool = False) -> Record:
    view = {key: value for key, value in credential.items() if with_secret or key != "secret"}
    return {**view, "links": {"self": f"{call.base}/application_credentials/{credential['id']}"}}


@routes.add("POST", "/v3/users/{id}/application_credentials")
async def create_credential(call: Call) -> Answer:
    _own(call)
    assert call.token is not None
    wish = call.object("application_credential")
    if any(row["name"] == wish.get("name") for row in call.cloud.credentials.values()):
        message = f"Conflict occurred attempting to store application_credential - Duplicate entry found with name {wish.get('name')}."
        raise Refusal(keystone_error(409, message))
    roles = [
        {**role, "domain_id": None, "description": None, "options": {"immutable": True}}
        for role in _roles(call.is_admin)
    ]
    credential: dict[str, Any] = {
        "id": hex_id(str(time.time_ns())),
        "name": wish.get("name"),
        "description": wish.get("description"),
        "user_id": call.token.user_id,
        "project_id": call.project,
        "system": None,
        "expires_at": wish.get("expires_at"),
        "unrestricted": wish.get("unrestricted"),
        "roles": roles,
        "secret": wish.get("secret") or secrets.token_urlsafe(32),
    }
    call.cloud.credentials[credential["id"]] = credential
    return Answer(201, {"application_credential": _credential_view(call, credential, with_secret=True)})


@routes.add("GET", "/v3/users/{id}/application_credentials")
async def list_credentials(call: Call) -> Answer:
    _own(call)
    rows = [row for row in call.cloud.credentials.values() if row["user_id"] == call.arguments["id"]]
    rows = [row for row in rows if call.query.get("name") in (None, row["name"])]
    return _collection(call, "application_credentials", [_credential_view(call, row) for row in rows])


@routes.add("GET", "/v3/users/{id}/application_credentials/{credential}")
async def show_credential(call: Call) -> Answer:
    return Answer(200, {"application_credential": _credential_view(call, _credential(call))})


@routes.add("DELETE", "/v3/users/{id}/application_credentials/{credential}")
async def delete_credential(call: Call) -> Answer:
    del call.cloud.credentials[_credential(call)["id"]]
    return Answer(204)


def _credential(call: Call) -> Record:
    _own(call)
    ident = call.arguments["credential"]
    if ident not in call.cloud.credentials:
        raise Refusal(keystone_error(404, f"Could not find Application Credential: {ident}."))
    return call.cloud.credentials[ident]


@routes.add("POST", "/v2.0/tokens")
async def create_token_v2(call: Call) -> Answer:
    if not call.cloud.profile.identity_v2:
        raise Refusal(keystone_error(404, "The resource could not be found."))
    auth = call.body.get("auth") if isinstance(call.body, dict) else None
    if not isinstance(auth, dict):
        raise Refusal(keystone_error(400, "Expecting to find auth in request body."))
    password = auth.get("passwordCredentials") or {}
    identity = {"password": {"user": {"name": password.get("username"), "password": password.get("password")}}}
    if "token" in auth:
        user = _user_of(call.cloud, "token", {"token": auth["token"]})
    else:
        user = _user_of(call.cloud, "password", identity)
    if (
        auth.get("tenantName", user.project_name) != user.project_name
        or auth.get("tenantId", user.project_id) != user.project_id
    ):
        raise _refuse()
    token = call.cloud.issue(user, "password")
    access = {
        "token": {
            "id": token.id,
            "expires": stamp(token.expires_at),
            "issued_at": stamp(token.issued_at),
            "tenant": {"id": user.project_id, "name": user.project_name, "enabled": True, "description": ""},
        },
        "user": {
            "id": user.id,
            "name": user.name,
            "username": user.name,
            "roles": [{"name": role["name"]} for role in _roles(user.is_admin)],
            "roles_links": [],
        },
        "serviceCatalog": [_v2_entry(entry) for entry in catalog(call.cloud, user.project_id)],
        "metadata": {"is_admin": int(user.is_admin), "roles": []},
    }
    return Answer(200, {"access": access})


def _v2_entry(entry: Record) -> Record:
    public = [endpoint for endpoint in entry["endpoints"] if endpoint["interface"] == "public"]
    endpoints = [
        {
            "region": endpoint["region"],
            "publicURL": endpoint["url"],
            "internalURL": endpoint["url"],
            "adminURL": endpoint["url"],
            "id": fixed_uuid(endpoint["id"]),
        }
        for endpoint in public
    ]
    return {"type": entry["type"], "name": entry["name"], "endpoints": endpoints, "endpoints_links": []}
