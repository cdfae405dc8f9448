"""What the operator says: zuul.conf, read as it is. Sections and keys that Zuul has keep their names and defaults.

Sections of our own: [fleet] (probe and DNS settings), [region CLOUD/REGION] (city and jurisdiction of a region that the
vendor table does not know).
"""

from __future__ import annotations

import configparser
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

KNOWN_SECTIONS = frozenset(
    (
        *("statsd", "tracing", "zookeeper", "database", "keystore", "oidc", "zuul", "scheduler", "merger", "executor"),
        *("launcher", "web", "webclient", "fingergw", "fleet"),
    )
)
WITH_NAME = ("connection", "auth", "ansible_callback", "region")
DEFAULT_PLACES = (Path("/etc/zuul/zuul.conf"), Path("~/zuul.conf"))


class SettingsError(Exception):
    """The configuration cannot be used; the text says what, where and how to mend it."""


@dataclass(frozen=True)
class Settings:
    """The sections of one file. `warnings` are for the log: sections nobody reads."""

    path: Path
    sections: Mapping[str, Mapping[str, str]]
    warnings: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> Settings:
        """Read a file (default: the usual places). `%(ZUUL_X)s` and `%(TRUNKLINE_X)s` are environment variables.

        Raises SettingsError.
        """
        found = path or next((p.expanduser() for p in DEFAULT_PLACES if p.expanduser().exists()), None)
        if found is None:
            raise SettingsError("no configuration: name one with --config FILE, or write /etc/zuul/zuul.conf")
        given = {k: v.replace("%", "%%") for k, v in os.environ.items() if k.startswith(("ZUUL_", "TRUNKLINE_"))}
        parser = configparser.ConfigParser(defaults=given)
        try:
            with found.open() as file:
                parser.read_file(file, str(found))
            sections = {
                name: {k: v for k, v in parser.items(name) if k not in {g.lower() for g in given}}
                for name in parser.sections()
            }
        except OSError as problem:
            raise SettingsError(f"{found}: {problem.strerror}") from problem
        except configparser.InterpolationError as problem:
            raise SettingsError(
                f"{found}: [{problem.section}] {problem.option}: {problem.message.splitlines()[0]}; "
                "set the environment variable, or write a literal % as %%"
            ) from problem
        except configparser.Error as problem:
            raise SettingsError(f"{found}: {problem.message}") from problem
        warnings = tuple(
            f"{found}: section [{name}] is not known here and is ignored" for name in sections if not _is_known(name)
        )
        return cls(found.resolve(), sections, warnings)

    def get(self, section: str, key: str, default: str = "") -> str:
        return self.sections.get(section, {}).get(key, default)

    def number(self, section: str, key: str, default: float) -> float:
        text = self.get(section, key)
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            raise SettingsError(f"{self.path}: [{section}] {key}={text}: not a number") from None

    def flag(self, section: str, key: str, default: bool) -> bool:
        text = self.get(section, key).lower()
        if text in ("", "true", "yes", "on", "1", "false", "no", "off", "0"):
            return text in ("true", "yes", "on", "1") if text else default
        raise SettingsError(f"{self.path}: [{section}] {key}={text}: write true or false")

    def file(self, section: str, key: str, default: str | None = None) -> Path | None:
        """A path, relative ones from the configuration's folder, with ~ expanded."""
        text = self.get(section, key) or default
        return (self.path.parent / Path(text).expanduser()) if text else None

    def named(self, kind: str) -> dict[str, Mapping[str, str]]:
        """The sections `[kind NAME]` by name, quotes taken off."""
        found = {}
        for title, values in self.sections.items():
            word, _, name = title.partition(" ")
            if word == kind and name:
                found[name.strip().strip("\"'")] = values
        return found

    @cached_property
    def state_dir(self) -> Path:
        """Where everything that is not in PostgreSQL lies."""
        for section in ("scheduler", "executor"):
            if self.get(section, "state_dir"):
                found = self.file(section, "state_dir")
                assert found is not None
                return found
        return Path("/var/lib/zuul")

    @property
    def embedded_database(self) -> Path | None:
        """Where the embedded PostgreSQL lives, or None when [database] names one."""
        return None if self.get("database", "dburi") else self.state_dir / "postgres"

    @property
    def dburi(self) -> str:
        uri = self.get("database", "dburi")
        if uri:
            return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", uri)
        from trunkline.services.postgres import EmbeddedPostgres

        return EmbeddedPostgres(self.state_dir / "postgres").dburi

    @property
    def hostname(self) -> str:
        return self.get("executor", "hostname") or socket.gethostname()

    @property
    def git_dir_merger(self) -> Path:
        return self.file("merger", "git_dir") or self.state_dir / "merger-git"

    @property
    def git_dir_executor(self) -> Path:
        return self.file("executor", "git_dir") or self.state_dir / "executor-git"

    @property
    def job_dir(self) -> Path:
        return self.file("executor", "job_dir") or self.state_dir / "builds"

    @property
    def log_dir(self) -> Path:
        """Where finished builds' logs are kept when the job does not upload them itself."""
        return self.file("web", "log_dir") or self.state_dir / "logs"

    @property
    def web_root(self) -> str:
        """The URL people use, with a slash at the end."""
        root = self.get("web", "root") or f"http://{self.get('web', 'listen_address', '127.0.0.1')}:{self.web_port}/"
        return root if root.endswith("/") else root + "/"

    @property
    def web_port(self) -> int:
        return int(self.number("web", "port", 9000))

    @property
    def keystore_password(self) -> str:
        password = self.get("keystore", "password")
        if not password:
            raise SettingsError(
                f"{self.path}: [keystore] password is missing; keys of projects are stored encrypted with it: "
                "write any long random text and keep it"
            )
        return password


def _is_known(section: str) -> bool:
    return section in KNOWN_SECTIONS or section.partition(" ")[0] in WITH_NAME
