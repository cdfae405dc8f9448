"""The server: JSON over HTTP, nothing but the standard library."""

import argparse
import json
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import catalog

GREETING = "Welcome to the shop"


def version():
    path = pathlib.Path(__file__).resolve().parents[1] / "VERSION"
    return path.read_text().strip() if path.exists() else "unknown"


def answer(path):
    """(status, body) for a path."""
    if path == "/":
        return 200, {"greeting": GREETING, "version": version()}
    if path == "/healthz":
        return 200, {"ok": True}
    if path == "/items":
        return 200, catalog.ITEMS
    return 404, {"error": "not found"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = answer(self.path)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    ThreadingHTTPServer((args.host, args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
