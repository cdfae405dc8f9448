"""Two small servers that tests put beside the system: a desk where builds register, and a proxy before the review server."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Visit:
    """A build that has come to the desk. `done` is set when it may go on."""

    job: str
    change: str  # "NUMBER,PATCHSET", or a branch
    pipeline: str
    build: str
    attempt: int
    verdict: str = "pass"
    done: threading.Event = field(default_factory=threading.Event)


class Desk:
    """Builds ask here how they should end. They go on at once unless the test holds them."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self._holds = False
        self._free: set[str] = set()
        self._verdicts: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = _serve(self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.release_all()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Builds of changes that come from now on wait; those of branches never do."""
        self._free.clear()
        self._holds = True

    def fail(self, number: int) -> None:
        """Builds of this change fail from now on."""
        self._verdicts[str(number)] = "fail"

    def waiting(self, number: int) -> list[Visit]:
        return [v for v in self.of(number) if not v.done.is_set()]

    def of(self, number: int) -> list[Visit]:
        with self._lock:
            return [v for v in self.visits if v.change.partition(",")[0] == str(number)]

    def release(self, number: int) -> None:
        """Let the change's builds go on, those that wait and those that come."""
        self._free.add(str(number))
        for visit in self.of(number):
            visit.done.set()

    def release_all(self) -> None:
        self._holds = False
        with self._lock:
            for visit in self.visits:
                visit.done.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        desk = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                visit = Visit(asked["job"], asked["change"], asked["pipeline"], asked["build"], int(asked["attempt"]))
                number = visit.change.partition(",")[0]
                visit.verdict = desk._verdicts.get(number, "pass")
                if not desk._holds or number in desk._free or not number.isdigit():
                    visit.done.set()
                with desk._lock:
                    desk.visits.append(visit)
                visit.done.wait()
                self.answer(200, json.dumps({"verdict": visit.verdict}).encode(), {"Content-Type": "application/json"})

        return Handler


class ReviewProxy:
    """Passes HTTP on to the review server. An answer can be kept back, as a connection that breaks too late would."""

    def __init__(self, target: str) -> None:
        self.target = urllib.parse.urlsplit(target)
        self._keeps: Callable[[str, bytes], bool] | None = None
        self.kept = threading.Event()
        self._go_on = threading.Event()
        self._server = _serve(self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.go_on()
        self._server.shutdown()
        self._server.server_close()

    def keep_answer(self, which: Callable[[str, bytes], bool]) -> None:
        """The next request that fits (path, body) is carried out, but its answer does not come. Then `kept` is set."""
        self.kept.clear()
        self._go_on.clear()
        self._keeps = which

    def go_on(self) -> None:
        self._keeps = None
        self._go_on.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(_Handler):
            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    status, headers, answer = proxy._ask(self.command, self.path, body, dict(self.headers))
                except OSError:  # nobody there: whoever asks sees the connection end
                    self.close_connection = True
                    return
                keeps = proxy._keeps
                if keeps is not None and self.command == "POST" and keeps(self.path, body):
                    proxy._keeps = None
                    proxy.kept.set()
                    proxy._go_on.wait()
                self.answer(status, answer, headers)

            do_GET = do_POST = do_PUT = do_DELETE = _pass

        return Handler

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        assert self.target.hostname is not None
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
        dropped = {"connection", "transfer-encoding", "content-length", "accept-encoding"}
        sent = {k: v for k, v in headers.items() if k.lower() not in dropped}
        try:
            connection.request(method, path, body or None, sent)
            found = connection.getresponse()
            back = {k: v for k, v in found.getheaders() if k.lower() not in dropped}
            return found.status, back, found.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # whoever asked has died meanwhile: that is what tests are for
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
