"""Gerrit's two ways of writing a time."""

from datetime import UTC, datetime


def from_rest(text: str | None) -> float:
    """`2026-11-24 15:16:02.000000000`, always UTC, as epoch seconds; nothing is 0."""
    if not text:
        return 0.0
    return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp()


def for_query(at: float) -> str:
    """Epoch seconds as the query operators `after:` and `before:` take them."""
    return datetime.fromtimestamp(at, UTC).strftime('"%Y-%m-%d %H:%M:%S +0000"')
