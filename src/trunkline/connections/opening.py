"""From a [connection NAME] section to a driver."""

from collections.abc import Mapping

from trunkline.connections.gerrit.connection import GerritConnection
from trunkline.connections.gerrit.settings import GerritSettings
from trunkline.connections.git.connection import GitConnection
from trunkline.connections.model import Connection


def open_connection(name: str, options: Mapping[str, str]) -> Connection | None:
    """The driver that the section's `driver` key names, or None for drivers that have no source (smtp, mqtt, …).

    Opens nothing yet. Raises ValueError (what, where) for options that make no sense.
    """
    match options.get("driver"):
        case "gerrit":
            return GerritConnection(name, GerritSettings.read(name, options))
        case "git":
            return GitConnection(name, options)
        case None:
            raise ValueError(f"[connection {name}]: the key `driver` is missing; write for example driver=gerrit")
        case _:
            return None
