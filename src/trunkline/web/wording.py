"""How figures and times are written for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any


def duration(seconds: float | None) -> str:
    """'8 s', '1 min 20 s', '2 h 5 min': as exact as it is useful."""
    if seconds is None:
        return ""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def epoch(text: str | float | None) -> float | None:
    """A time of the API ('2026-01-31T12:00:00', UTC without zone; or epoch seconds) in epoch seconds."""
    if text is None or isinstance(text, (int, float)):
        return text
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso(seconds: float | None) -> str:
    """Epoch seconds as HTML's datetime attribute wants them."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(seconds: float | None) -> str:
    """For readers without scripts; with them the browser shows its own time zone."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M:%S UTC")


def result_state(result: str | None) -> str:
    """The state that decides colour and sign of a result."""
    match result:
        case None:
            return "running"
        case "SUCCESS":
            return "success"
        case "SKIPPED":
            return "skipped"
        case "CANCELED" | "ABORTED" | "DEQUEUED" | "RETRY":
            return "cancelled"
    return "failure"


def result_word(result: str | None) -> str:
    match result:
        case None:
            return "running"
        case "SUCCESS":
            return "passed"
        case "CANCELED" | "ABORTED":
            return "cancelled"
        case "RETRY":
            return "tried again"
    return result.replace("_", " ").lower()


def ref_label(ref: dict[str, Any]) -> str:
    """'1203,2' for a change, else the branch, tag or commit."""
    if ref.get("change"):
        return f"{ref['change']},{ref['patchset']}"
    name = str(ref.get("ref") or "").removeprefix("refs/heads/").removeprefix("refs/tags/")
    return name or str(ref.get("newrev") or "?")[:10]


def change_path(ref: dict[str, Any]) -> str:
    """The last part of the path of its page."""
    return f"{ref['change']},{ref['patchset']}" if ref.get("change") else str(ref.get("newrev") or "")


def percent(share: float | None) -> str:
    return "0%" if share is None else f"{max(0.0, min(1.0, share)) * 100:.1f}%"


def web_url(url: str | None) -> str:
    """A link that a job or a review system gave, if it leads to a page; anything else leads nowhere."""
    scheme, colon, _ = (url or "").strip().partition(":")
    return url or "" if not colon or scheme.lower() in ("http", "https") or "/" in scheme else "#"


FILTERS: dict[str, Callable[..., Any]] = {
    "duration": duration,
    "epoch": epoch,
    "iso": iso,
    "clock": clock,
    "result_state": result_state,
    "result_word": result_word,
    "ref_label": ref_label,
    "change_path": change_path,
    "percent": percent,
    "web_url": web_url,
}
