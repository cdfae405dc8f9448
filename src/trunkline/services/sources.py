"""The connections of this installation, opened once a process: drivers, names, ways to fetch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from trunkline.config.tenant_model import ConnectionSpec
from trunkline.connections import Connection, open_connection
from trunkline.git import GitSource
from trunkline.services.settings import Settings, SettingsError

SETTINGS_FRESH_S = 300.0
PATHS = frozenset({"sshkey", "known_hosts"})


class Sources:
    """Drivers by connection name. `specs` holds every connection, also those that are no source of changes."""

    def __init__(self, drivers: Mapping[str, Connection], specs: Mapping[str, ConnectionSpec]) -> None:
        self.drivers = dict(drivers)
        self.specs = dict(specs)
        self._whole_topics: dict[str, tuple[float, bool]] = {}

    @classmethod
    def open(cls, settings: Settings) -> Sources:
        """From the [connection NAME] sections. Raises SettingsError."""
        drivers: dict[str, Connection] = {}
        specs: dict[str, ConnectionSpec] = {}
        for name, written in settings.named("connection").items():
            options = _with_absolute_paths(settings, written)
            try:
                driver = open_connection(name, options)
            except ValueError as problem:
                raise SettingsError(f"{settings.path}: {problem}") from problem
            if driver is not None:
                drivers[name] = driver
            hostname = driver.canonical_hostname if driver else options.get("canonical_hostname", name)
            specs[name] = ConnectionSpec(name, options.get("driver", ""), hostname)
        return cls(drivers, specs)

    def __getitem__(self, connection: str) -> Connection:
        return self.drivers[connection]

    def canonical(self, connection: str, project: str) -> str:
        return f"{self.specs[connection].canonical_hostname}/{project}"

    def git_source(self, connection: str, project: str) -> GitSource:
        access = self.drivers[connection].git_source(project)
        return GitSource(
            url=access.url,
            ssh_key=access.ssh_key,
            http_user=access.http_user,
            http_password=access.http_password,
            env=dict(access.env),
        )

    def of_url(self, url: str) -> tuple[Connection, int] | None:
        """Whose change a URL names: (driver, number)."""
        for driver in self.drivers.values():
            number = driver.number_of(url)
            if number is not None:
                return driver, number
        return None

    async def lands_whole_topics(self, connection: str) -> bool:
        """Whether that system lands all changes of a topic together; asked now and then."""
        asked, answer = self._whole_topics.get(connection, (-SETTINGS_FRESH_S, False))
        if time.monotonic() - asked > SETTINGS_FRESH_S:
            answer = await self.drivers[connection].submits_whole_topic()
            self._whole_topics[connection] = (time.monotonic(), answer)
        return answer

    def all(self) -> Iterable[Connection]:
        return self.drivers.values()

    async def close(self) -> None:
        for driver in self.drivers.values():
            await driver.close()


def _with_absolute_paths(settings: Settings, options: Mapping[str, str]) -> dict[str, str]:
    """Relative paths count from the configuration's folder, wherever the service was started."""
    found = dict(options)
    for key in PATHS & options.keys():
        found[key] = str(settings.path.parent / Path(options[key]).expanduser())
    return found
