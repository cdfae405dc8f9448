"""REST: which handler a path means. Handlers take an `Asked` and return an `Answer`; refusals are raised."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from trunkline.dev.review.model import Account, Refused
from trunkline.dev.review.site import Site

Handler = Callable[["Asked"], Awaitable["Answer | Raw"]]

_ROUTES: list[tuple[str, list[str], Handler]] = []


class Answer(msgspec.Struct, frozen=True):
    json: Any
    status: int = 200


class Raw(msgspec.Struct, frozen=True):
    """Plain text, without the prefix line."""

    data: bytes
    status: int = 200


NOTHING = Answer(None, 204)


class Asked:
    """A request: who, what, and the parts of the path by the names in the route."""

    def __init__(
        self, site: Site, account: Account | None, method: str, path: str, query: list[tuple[str, str]], body: Any
    ) -> None:
        self.site = site
        self.account = account
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.parts: dict[str, str] = {}

    @property
    def by(self) -> Account:
        """Who acts. Raises Refused for the anonymous."""
        if self.account is None:
            raise Refused(403, "Authentication required")
        return self.account

    @property
    def fields(self) -> dict[str, Any]:
        return self.body if isinstance(self.body, dict) else {}

    def one(self, *names: str) -> str | None:
        return next((value for key, value in reversed(self.query) if key in names), None)

    def has(self, *names: str) -> bool:
        return any(key in names for key, _ in self.query)

    @property
    def options(self) -> frozenset[str]:
        return frozenset(word for key, value in self.query if key == "o" for word in value.split(","))


def route(methods: str, pattern: str) -> Callable[[Handler], Handler]:
    """Register a handler for `METHOD|METHOD` and a pattern like `changes/{change}/topic`."""

    def register(handler: Handler) -> Handler:
        for method in methods.split("|"):
            _ROUTES.append((method, pattern.split("/"), handler))
        return handler

    return register


async def answer(asked: Asked) -> Answer | Raw:
    import trunkline.dev.review.rest_accounts
    import trunkline.dev.review.rest_changes
    import trunkline.dev.review.rest_projects  # noqa: F401  (they register their routes)

    segments = [segment for segment in asked.path.strip("/").split("/") if segment]
    other_method = False
    for method, pattern, handler in _ROUTES:
        parts = _match(pattern, segments)
        if parts is None:
            continue
        if method != asked.method:
            other_method = other_method or not pattern[-1].startswith("{")
            continue
        asked.parts = parts
        return await handler(asked)
    if other_method:
        raise Refused(404, "Not Found")
    raise Refused(404, f"Not found: {unquote(segments[-1]) if segments else ''}")


def _match(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parts = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            parts[wanted.strip("{}")] = unquote(given)
        elif wanted != unquote(given):
            return None
    return parts
