"""Stored logs of finished builds, as files: /logs/TENANT/BUILD/…

Served as plain text or a download, never as a page of this site: what a job wrote must not run in a reader's browser
with this site's name.
"""

from __future__ import annotations

import html
import mimetypes
from pathlib import Path

from aiohttp import web

from trunkline.web.answers import CORS, Stop, not_found, refusal
from trunkline.web.context import context

_TEXT = {".txt", ".log", ".yaml", ".yml", ".json", ".cfg", ".ini", ".md", ".rst", ".py", ".sh", ".xml", ".html", ""}
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/logs/{tenant_name}/{uuid:[0-9a-f-]+}", stored_log),
        web.get("/logs/{tenant_name}/{uuid:[0-9a-f-]+}/{path:.*}", stored_log),
        web.get("/logs/{rest:.*}", no_log),
    ]


async def no_log(request: web.Request) -> web.StreamResponse:
    raise not_found("No such log")


async def stored_log(request: web.Request) -> web.StreamResponse:
    ctx = context(request)
    tenant = await ctx.reader(request)
    if ctx.settings.log_directory is None:
        raise not_found("Logs are not stored here")
    root = Path(ctx.settings.log_directory).resolve() / tenant.name / request.match_info["uuid"]
    wanted = (root / request.match_info.get("path", "")).resolve()
    if not wanted.is_relative_to(root) or not wanted.exists():
        raise not_found("No such log")
    if wanted.is_dir():
        if not request.path.endswith("/"):
            raise Stop(web.Response(status=302, headers={**CORS, "Location": request.path + "/"}))
        return _listing(root, wanted)
    if not wanted.is_file():
        raise Stop(refusal(404, "Not a file"))
    return web.FileResponse(wanted, headers={**CORS, **_SAFE, **_kind(wanted)})


def _kind(path: Path) -> dict[str, str]:
    packed = path.suffix == ".gz" and Path(path.stem).suffix in _TEXT
    if packed:
        return {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
    if path.suffix in _TEXT:
        return {"Content-Type": "text/plain; charset=utf-8"}
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if guessed.startswith("image/") and guessed != "image/svg+xml":
        return {"Content-Type": guessed}
    return {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}


def _listing(root: Path, folder: Path) -> web.Response:
    rows = [] if folder == root else ['<li><a href="../">../</a></li>']
    for entry in sorted(folder.iterdir(), key=lambda e: (e.is_file(), e.name)):
        name = html.escape(entry.name + ("/" if entry.is_dir() else ""))
        size = f" <small>{entry.stat().st_size:,} bytes</small>" if entry.is_file() else ""
        rows.append(f'<li><a href="{html.escape(_quoted(entry))}">{name}</a>{size}</li>')
    title = html.escape("/".join((root.name, *folder.relative_to(root).parts)))
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Logs of {title}</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.6 system-ui;"
        "max-width:50rem;margin:2rem auto;padding:0 1rem}ul{padding-left:1.2rem}</style>"
        f"<h1>{title}</h1><ul>{''.join(rows)}</ul>"
    )
    return web.Response(text=body, content_type="text/html", charset="utf-8", headers={**CORS, **_SAFE})


def _quoted(entry: Path) -> str:
    from urllib.parse import quote

    return "./" + quote(entry.name) + ("/" if entry.is_dir() else "")
