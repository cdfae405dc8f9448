"""A [connection NAME] section with driver=gerrit (Zuul configuration reference §7.1)."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


class GerritSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`keepalive_s` 0 is off. Without `password` everything goes over SSH."""

    server: str
    canonical_hostname: str
    ssh_server: str
    port: int = 29418
    baseurl: str
    user: str
    sshkey: str | None = None
    password: str | None = None
    auth_type: str = "basic"
    keepalive_s: int = 60
    verify_ssl: bool = True
    git_over_ssh: bool = False
    stream_events: bool = True
    known_hosts: str | None = None

    @classmethod
    def read(cls, name: str, options: Mapping[str, str]) -> "GerritSettings":
        """From the section's strings. Raises ValueError with what is wrong and where."""
        where = f"[connection {name}]"

        def needed(key: str) -> str:
            if not options.get(key):
                raise ValueError(f"{where}: the key `{key}` is missing")
            return options[key]

        def number(key: str, default: int) -> int:
            try:
                return int(options.get(key, default))
            except ValueError:
                raise ValueError(f"{where}: `{key}` must be a whole number, not {options[key]!r}") from None

        def flag(key: str, default: bool) -> bool:
            word = options.get(key, str(default)).strip().lower()
            if word not in _TRUE | _FALSE:
                raise ValueError(f"{where}: `{key}` must be true or false, not {options[key]!r}")
            return word in _TRUE

        for key in options:
            if key.startswith(("kafka_", "aws_kinesis_", "gcloud_pubsub_")):
                raise ValueError(f"{where}: `{key}` is not supported yet: events are taken from the SSH stream")
        auth_type = options.get("auth_type", "basic")
        if auth_type not in {"basic", "digest"}:
            raise ValueError(f"{where}: auth_type {auth_type!r} is not supported yet; known: basic, digest")
        server = needed("server")
        baseurl = options.get("baseurl", f"https://{server}").rstrip("/")
        if urlsplit(baseurl).scheme not in {"http", "https"}:
            raise ValueError(f"{where}: `baseurl` must begin with http:// or https://, not {baseurl!r}")
        return cls(
            server=server,
            canonical_hostname=options.get("canonical_hostname", server),
            ssh_server=options.get("ssh_server", server),
            port=number("port", 29418),
            baseurl=baseurl,
            user=needed("user"),
            sshkey=options.get("sshkey"),
            password=options.get("password"),
            auth_type=auth_type,
            keepalive_s=number("keepalive", 60),
            verify_ssl=flag("verify_ssl", True),
            git_over_ssh=flag("git_over_ssh", False),
            stream_events=flag("stream_events", True),
            known_hosts=options.get("known_hosts"),
        )
