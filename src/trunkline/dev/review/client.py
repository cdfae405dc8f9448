"""A small client of the REST API, for those who set up accounts and projects and for scripted people. Blocking."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

_TIMEOUT_S = 60.0


class ReviewError(Exception):
    """The server said no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class ReviewClient:
    """Acts as one account of the server at `url`. Works on any Gerrit for what it does."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._login = base64.b64encode(f"{username}:{password}".encode()).decode()

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request below /a/; the decoded answer. Raises ReviewError."""
        data = None
        if body is not None:
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/a/{path}", data=data, method=method)
        request.add_header("Authorization", f"Basic {self._login}")
        if data is not None:
            request.add_header("Content-Type", f"{content_type}; charset=UTF-8")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise ReviewError(error.code, error.read().decode(errors="replace").strip()) from None
        return json.loads(text.removeprefix(")]}'")) if text.startswith(")]}'") else text

    # ------------------------------------------------------------------ setting up (administrators)

    def create_account(
        self,
        username: str,
        *,
        name: str = "",
        email: str = "",
        password: str = "",
        ssh_key: str = "",
        groups: Iterable[str] = (),
    ) -> None:
        """Make an account, or leave one of that name as it is."""
        body = {
            "name": name or username,
            "email": email or f"{username}@example.com",
            "http_password": password,
            "ssh_key": ssh_key,
            "groups": list(groups),
        }
        self._unless_there("PUT", f"accounts/{quote(username, safe='')}", body)

    def create_group(self, name: str, members: Iterable[str] = ()) -> None:
        self._unless_there("PUT", f"groups/{quote(name, safe='')}", {"members": list(members)})

    def add_member(self, group: str, username: str) -> None:
        self.call("PUT", f"groups/{quote(group, safe='')}/members/{quote(username, safe='')}")

    def create_project(
        self, name: str, *, branches: Iterable[str] = ("main",), description: str = "", empty_commit: bool = True
    ) -> None:
        """Make a project, or leave one of that name as it is."""
        body = {"branches": list(branches), "description": description, "create_empty_commit": empty_commit}
        self._unless_there("PUT", f"projects/{quote(name, safe='')}", body)

    def create_branch(self, project: str, branch: str, revision: str) -> None:
        path = f"projects/{quote(project, safe='')}/branches/{quote(branch, safe='')}"
        self._unless_there("PUT", path, {"revision": revision})

    def _unless_there(self, method: str, path: str, body: Any) -> None:
        try:
            self.call(method, path, body)
        except ReviewError as error:
            if error.status != 409:
                raise

    # ------------------------------------------------------------------ taking part

    def change(self, number: int | str, *options: str) -> dict[str, Any]:
        query = "?" + urlencode([("o", option) for option in options]) if options else ""
        found: dict[str, Any] = self.call("GET", f"changes/{number}{query}")
        return found

    def query(self, text: str, *options: str) -> list[dict[str, Any]]:
        words = urlencode([("q", text), *(("o", option) for option in options)])
        found: list[dict[str, Any]] = self.call("GET", f"changes/?{words}")
        return found

    def review(self, number: int, message: str = "", labels: Mapping[str, int] | None = None, **more: Any) -> None:
        body = {"message": message, "labels": dict(labels or {})} | more
        self.call("POST", f"changes/{number}/revisions/current/review", body)

    def submit(self, number: int) -> None:
        self.call("POST", f"changes/{number}/submit", {})

    def abandon(self, number: int, message: str = "") -> None:
        self.call("POST", f"changes/{number}/abandon", {"message": message})

    def restore(self, number: int, message: str = "") -> None:
        self.call("POST", f"changes/{number}/restore", {"message": message})

    def set_topic(self, number: int, topic: str) -> None:
        self.call("PUT", f"changes/{number}/topic", {"topic": topic})
