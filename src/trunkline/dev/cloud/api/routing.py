"""Operations by method and path, what they are given, and what they answer."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from multidict import MultiDict, MultiMapping

if TYPE_CHECKING:
    from trunkline.dev.cloud.world import Cloud, Region, Token


@dataclass
class Answer:
    """What goes back. A body that is not bytes is sent as JSON; None sends nothing."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request is answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


@dataclass
class Call:
    """One request, past the door."""

    cloud: "Cloud"
    region: "Region"
    """For identity: the cloud's first region."""
    service: str
    method: str
    path: str
    query: MultiMapping[str]
    headers: MultiMapping[str]
    raw: bytes
    body: Any
    base: str
    """URL of the service's version, without a slash at the end."""
    root: str
    """URL of the service."""
    token: "Token | None"
    microversion: tuple[int, int]
    request_id: str
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str:
        assert self.token is not None
        return self.token.project_id

    @property
    def is_admin(self) -> bool:
        return self.token is not None and self.token.is_admin

    def at_least(self, minor: int) -> bool:
        """Whether the client speaks the compute microversion 2.minor or a later one."""
        return self.microversion >= (2, minor)

    def object(self, name: str) -> dict[str, Any]:
        """The body's one member."""
        if not isinstance(self.body, dict) or not isinstance(self.body.get(name), dict):
            raise Refusal(nova_error(400, "Malformed request body"))
        found: dict[str, Any] = self.body[name]
        return found


Handler = Callable[[Call], Awaitable[Answer]]


class Routes:
    """The operations of one service."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], str, Handler]] = []

    def add(self, method: str, template: str) -> Callable[[Handler], Handler]:
        pattern = re.compile(
            "^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template).replace("(?P<rest>[^/]+)", "(?P<rest>.+)") + "/?$"
        )

        def register(handler: Handler) -> Handler:
            self._routes.append((method, pattern, template, handler))
            return handler

        return register

    def find(self, method: str, path: str) -> tuple[str, Handler, dict[str, str]] | None:
        """(operation, handler, arguments) of the first route that fits."""
        for verb, pattern, template, handler in self._routes:
            if verb == method and (match := pattern.match(path)):
                return f"{verb} {template}", handler, match.groupdict()
        return None

    def update(self, other: "Routes") -> None:
        self._routes.extend(other._routes)


_NOVA_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    429: "overLimit",
    503: "serviceUnavailable",
}
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
}
_TITLES |= {
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    405: "Method Not Allowed",
    501: "Not Implemented",
}


def nova_error(status: int, message: str, **more: Any) -> Answer:
    """As nova and cinder put it."""
    name = _NOVA_NAMES.get(status, "computeFault")
    return Answer(status, {name: {"code": status, "message": message, **more}})


def neutron_error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, {"NeutronError": {"type": kind, "message": message, "detail": ""}})


def glance_error(status: int, message: str) -> Answer:
    title = _TITLES.get(status, "Error")
    return Answer(status, {"message": f"{message}<br /><br />\n\n\n", "code": f"{status} {title}", "title": title})


def keystone_error(status: int, message: str) -> Answer:
    return Answer(status, {"error": {"code": status, "message": message, "title": _TITLES.get(status, "Error")}})


def error_of(service: str, status: int, message: str) -> Answer:
    """An error that the service as such has, in its own shape."""
    if service == "identity":
        return keystone_error(status, message)
    if service == "image":
        return glance_error(status, message)
    if service == "network":
        return neutron_error(status, "".join(_TITLES.get(status, "Error").split()), message)
    if service == "placement":
        return Answer(
            status, {"errors": [{"status": status, "title": _TITLES.get(status, "Error"), "detail": message}]}
        )
    return nova_error(status, message)


def page(call: Call, rows: list[dict[str, Any]], maximum: int = 1000) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of the page asked for, and the query of the next page if there is one."""
    marker, limit = call.query.get("marker"), call.query.get("limit")
    if marker:
        position = next((index for index, row in enumerate(rows) if row["id"] == marker), None)
        if position is None:
            raise Refusal(error_of(call.service, 400, f"marker [{marker}] not found"))
        rows = rows[position + 1 :]
    size = min(int(limit), maximum) if limit and limit.isdigit() and int(limit) else maximum
    if len(rows) <= size:
        return rows, None
    query = MultiDict(call.query)
    query["limit"] = str(size)
    query["marker"] = rows[size - 1]["id"]
    return rows[:size], urlencode(list(query.items()))


def sort(call: Call, rows: list[dict[str, Any]], default: str = "") -> list[dict[str, Any]]:
    """By sort_key/sort_dir as nova, neutron and cinder have it (glance: sort=key:dir too)."""
    keys, directions = list(call.query.getall("sort_key", [])), list(call.query.getall("sort_dir", []))
    for part in (call.query.get("sort") or "").split(","):
        if part:
            key, _, direction = part.partition(":")
            keys.append(key)
            directions.append(direction or "desc")
    if not keys and default:
        keys, directions = [default], ["desc"]
    for index in reversed(range(len(keys))):
        backwards = (directions[index] if index < len(directions) else "asc") == "desc"
        key = keys[index]
        rows = sorted(rows, key=lambda row: str(row.get(key) or ""), reverse=backwards)
    return rows
