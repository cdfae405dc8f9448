"""results.json: what playbooks returned. Read again after each playbook that matters; never trusted to be well-formed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

Json = Any

LARGEST_RESULT = 16 << 20


class ResultProblem(Exception):
    """The file cannot be used; the text is the build's error_detail."""


class Returned:
    """`data` and `secret_data` as returned so far."""

    def __init__(self, data: dict[str, Json], secret_data: dict[str, Json]) -> None:
        self.data = data
        self.secret_data = secret_data

    @property
    def zuul(self) -> Mapping[str, Json]:
        value = self.data.get("zuul")
        return value if isinstance(value, dict) else {}

    @property
    def wants_pause(self) -> bool:
        return bool(self.zuul.get("pause"))

    @property
    def forbids_retry(self) -> bool:
        return self.zuul.get("retry") is False

    @property
    def redactions(self) -> tuple[str, ...]:
        values = self.zuul.get("redactions", [])
        return tuple(value for value in values if isinstance(value, str) and value) if isinstance(values, list) else ()

    @property
    def log_url(self) -> str | None:
        value = self.zuul.get("log_url")
        if not isinstance(value, str) or not value:
            return None
        return value if value.endswith("/") else value + "/"

    def artifacts(self) -> tuple[dict[str, Json], ...]:
        """As listed, URLs joined to the log URL."""
        listed = self.zuul.get("artifacts", [])
        found = []
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("url"), str):
                url = urljoin(self.log_url, entry["url"]) if self.log_url else entry["url"]
                found.append({**entry, "url": url})
        return tuple(found)

    def warnings(self) -> tuple[str, ...]:
        listed = self.zuul.get("warnings", [])
        return tuple(text for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()

    def sent(self) -> dict[str, Json]:
        """`data` as it leaves the executor: redactions stay."""
        if "redactions" not in self.zuul:
            return self.data
        kept = {key: value for key, value in self.zuul.items() if key != "redactions"}
        return {**self.data, "zuul": kept}


def read_returned(path: Path) -> Returned:
    """Read results.json without following links. Raises ResultProblem."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Returned({}, {})
    except OSError as error:
        if path.is_symlink():
            raise ResultProblem(f"Symlink detected {path} -> {os.readlink(path)}") from error
        raise ResultProblem(f"{path.name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as handle:
        raw = handle.read(LARGEST_RESULT + 1)
    if len(raw) > LARGEST_RESULT:
        raise ResultProblem(f"What the job returned is larger than {LARGEST_RESULT >> 20} MiB")
    if not raw.strip():
        return Returned({}, {})
    try:
        whole = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ResultProblem(f"{path.name} is not JSON: {error}") from error
    if not isinstance(whole, dict):
        raise ResultProblem(f"{path.name} holds no map")
    parts = [whole.get(name) or {} for name in ("data", "secret_data")]
    if not all(isinstance(part, dict) for part in parts):
        raise ResultProblem(f"data in {path.name} is no map")
    return Returned(parts[0], parts[1])
