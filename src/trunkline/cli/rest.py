"""What the thin commands share: where the REST API is, and one question to it."""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0


class NoAnswer(Exception):
    """The API does not answer, or says no; the text is for the person at the terminal."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", "-c", type=Path, help="zuul.conf whose [web] root is asked (default: the usual places)"
    )
    parser.add_argument("--url", "-u", help="root of the web service, instead of --config")
    parser.add_argument("--tenant", "-t", help="default: the only one there is")
    parser.add_argument("--token", help="for tenants that are not open to all (default: TRUNKLINE_TOKEN)")
    parser.add_argument("--json", action="store_true", help="the answer as it came")


class Api:
    """The REST API of one tenant. Raises NoAnswer."""

    def __init__(self, root: str, token: str | None = None, tenant: str | None = None) -> None:
        self.root = root if root.endswith("/") else root + "/"
        self.token = token
        self.tenant = tenant or self._only_tenant()

    @classmethod
    def of(cls, args: argparse.Namespace) -> Api:
        root = args.url
        if root is None:
            from trunkline.services.settings import Settings, SettingsError

            try:
                root = Settings.read(args.config).web_root
            except SettingsError as problem:
                raise NoAnswer(str(problem)) from problem
        return cls(root, args.token or os.environ.get("TRUNKLINE_TOKEN"), args.tenant)

    def get(self, path: str, **query: Any) -> Any:
        """Below the tenant."""
        return json.loads(self.read(f"api/tenant/{urllib.parse.quote(self.tenant)}/{path}", **query))

    def read(self, path: str, **query: Any) -> bytes:
        url = self.root + path + (f"?{urllib.parse.urlencode(query, doseq=True)}" if query else "")
        request = urllib.request.Request(url, headers=dict(self.headers()))
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                found: bytes = answer.read()
                return found
        except urllib.error.HTTPError as problem:
            raise NoAnswer(f"{url}: {problem.code} {_detail(problem.read())}", problem.code) from None
        except OSError as problem:
            reason = getattr(problem, "reason", problem)
            raise NoAnswer(f"{self.root} does not answer ({reason}): does the web service run?") from None

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _only_tenant(self) -> str:
        names = [row["name"] for row in json.loads(self.read("api/tenants"))]
        if len(names) != 1:
            raise NoAnswer(f"say which tenant: --tenant {'|'.join(names)}" if names else "there is no tenant yet")
        return str(names[0])


def _detail(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()[:200]
    return str(answer.get("description") or answer.get("error") or answer) if isinstance(answer, dict) else str(answer)
