"""What the language must know of the configured connections, from their plain options."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlparse

from trunkline.config.tenant_model import ConnectionSpec

ALL_MODES = frozenset(
    {
        "merge",
        "merge-resolve",
        "merge-recursive",
        "merge-ort",
        "cherry-pick",
        "squash-merge",
        "rebase",
        "rebase-first-parent",
    }
)
_GITHUB_MODES = frozenset({"merge", "merge-resolve", "merge-recursive", "merge-ort", "squash-merge", "rebase"})
_PLAIN_MERGE = frozenset({"merge", "merge-resolve", "merge-recursive", "merge-ort"})
_SERVERS = {"github": "github.com", "gitlab": "gitlab.com", "pagure": "pagure.io"}
_MODES = {"github": _GITHUB_MODES, "gitlab": _PLAIN_MERGE | {"squash-merge"}, "pagure": _PLAIN_MERGE}
_DEFAULTS = {"gerrit": "merge-resolve", "github": "merge"}
SOURCES = frozenset({"gerrit", "git", "github", "gitlab", "pagure"})


def connection_spec(name: str, options: Mapping[str, str]) -> ConnectionSpec:
    """A connection by its options: `driver`, `server`, `canonical_hostname`, `baseurl`."""
    driver = options.get("driver", "")
    host = options.get("canonical_hostname") or options.get("server") or _SERVERS.get(driver, "")
    if not host and options.get("baseurl"):
        host = urlparse(options["baseurl"]).hostname or "localhost"
    problem = None
    if driver == "git" and not options.get("baseurl", "").strip("\"'"):
        problem = f"The connection {name} has no baseurl, so that its projects cannot be read"
    return ConnectionSpec(name, driver, host, _MODES.get(driver), _DEFAULTS.get(driver, "merge"), problem)
