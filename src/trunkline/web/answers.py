"""How every answer of the API looks: JSON, cross-origin headers, refusals, and which query keys are known."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from trunkline.web.source import Json

CORS = {"Access-Control-Allow-Origin": "*"}
_ALLOWED_HEADERS = "Authorization, Content-Type"
_PREFLIGHT_MAX_AGE_S = 86400
MAX_BODY_BYTES = 1 << 20


def as_json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer; structs of the pure rooms are written as they are."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={**CORS, **(headers or {})},
    )


def as_text(text: str, *, content_type: str = "text/plain", headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, content_type=content_type, charset="utf-8", headers={**CORS, **(headers or {})})


def nothing() -> web.Response:
    """Done, and there is nothing to say."""
    return web.Response(status=204, headers=CORS)


def preflight(methods: Iterable[str]) -> web.Response:
    """The answer to OPTIONS: anybody may call from any page, with a token of their own."""
    return web.Response(
        status=204,
        headers={
            **CORS,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Allow-Methods": ", ".join(sorted({*methods, "OPTIONS"})),
            "Access-Control-Max-Age": str(_PREFLIGHT_MAX_AGE_S),
        },
    )


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error: clients look at the code, people read the page."""
    title = {
        400: "Bad request",
        403: "Forbidden",
        404: "Not found",
        405: "Method not allowed",
        422: "Not loaded yet",
        503: "Not available",
    }
    heading = title.get(status, "Error")
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{status} {heading}</title>"
        f"<h1>{status} {heading}</h1><p>{html.escape(text)}</p>"
    )
    return web.Response(
        text=body, status=status, content_type="text/html", charset="utf-8", headers={**CORS, **(headers or {})}
    )


class Stop(Exception):
    """Ends a request with this answer; raised by checks, turned into the answer by the middleware."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


def not_found(text: str) -> Stop:
    return Stop(refusal(404, text))


def bad_request(text: str) -> Stop:
    return Stop(refusal(400, text))


def check_query(request: web.Request, *known: str) -> None:
    """Refuse keys that the route does not know. Values of the path win over query values of the same name."""
    for key in request.query:
        if key not in known and key not in request.match_info:
            raise not_found(f"Unexpected query string parameter: {key}")


def integer(request: web.Request, key: str, default: int | None = None) -> int | None:
    """The integer of a query key; anything else is refused."""
    text = request.query.get(key)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise bad_request(f"{key} must be an integer, not {text!r}") from None


def page(request: web.Request, default: int = 50) -> tuple[int, int]:
    """(limit, skip) of a list."""
    limit, skip = integer(request, "limit", default), integer(request, "skip", 0)
    if limit is None or skip is None or limit < 0 or skip < 0:
        raise bad_request("limit and skip must not be negative")
    return limit, skip


def boolean(text: str, key: str) -> bool:
    """Zuul's spelling of truth in a query."""
    match text.lower():
        case "1" | "true" | "yes" | "on" | "t" | "y":
            return True
        case "0" | "false" | "no" | "off" | "f" | "n" | "":
            return False
    raise bad_request(f"{key} must be true or false, not {text!r}")


async def body_of(request: web.Request) -> Json:
    """The JSON object that a request carries."""
    try:
        value = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The body must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object")
    return value
