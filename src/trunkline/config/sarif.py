"""Complaints in SARIF 2.1, which editors and code review tools read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.config.errors import ConfigError


def sarif(errors: Iterable[ConfigError]) -> dict[str, Any]:
    """A SARIF log of the errors."""
    listed = list(errors)
    rules = [{"id": name} for name in sorted({e.name for e in listed})]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "trunkline config check", "rules": rules}},
                "results": [_result(e) for e in listed],
            }
        ],
    }


def _result(error: ConfigError) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": error.name,
        "level": error.severity.value,
        "message": {"text": f"{error.short}. {error.mend}".strip()},
    }
    if error.path:
        location: dict[str, Any] = {"artifactLocation": {"uri": error.path}}
        if error.line:
            location["region"] = {
                "startLine": error.line,
                "startColumn": error.column,
                "endLine": error.end_line,
                "endColumn": error.end_column,
            }
        result["locations"] = [{"physicalLocation": location}]
    return result
