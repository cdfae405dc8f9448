"""What is published: one document an application, as a row (REST, DNS) and as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trunkline.fleet import AppState, Health


def document(state: AppState) -> dict[str, Any]:
    """The endpoints of an application. The same published set gives the same document."""
    application = state.application
    return {
        "application": application.name,
        "tenant": state.tenant,
        "generation": state.generation,
        "commit": state.good,
        "dns": application.dns
        and {"name": application.dns.fqdn, "zone": application.dns.zone, "ttl": application.dns.ttl_s},
        "instances": [
            {
                "id": i.id,
                "address": i.address,
                "port": application.port,
                "cloud": i.cloud,
                "region": i.region,
                "provider": i.provider,
                "vendor": i.vendor,
                "jurisdiction": i.jurisdiction,
                "city": i.city,
                "healthy": i.health is Health.HEALTHY,
                "commit": i.commit,
            }
            for i in state.instances
            if i.published
        ],
    }


class EndpointFiles:
    """`<folder>/<tenant>/<application>.json`, replaced as a whole when what is published changes."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.written: dict[Path, str] = {}

    def write(self, documents: Iterable[Mapping[str, Any]]) -> None:
        if self.folder is None:
            return
        for one in documents:
            path = self.folder / one["tenant"] / f"{one['application']}.json"
            text = json.dumps(one, indent=1) + "\n"
            if self.written.get(path) != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                draft = path.with_name(f".{path.name}.{os.getpid()}")
                draft.write_text(text)
                draft.replace(path)
                self.written[path] = text
