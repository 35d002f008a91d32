"""The files that pages are made of: styles, scripts, the explorer's libraries. Served from memory, read anew when they changed.

Not by aiohttp's own file responses: those hold a file open for as long as a client takes to read it, and what the kernel
sends for them lies unread where no limit of `connections` sees it.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from killsync.web.security import check_rate

#: What addresses of files begin with.
PREFIXES = ("/static/", "/lib/")
#: Longer names are none of ours.
MOST_NAME = 200


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    etag: str
    content_type: str


def is_file(request: web.Request) -> bool:
    """Whether a file is asked for: the same for everybody, and nobody's secret."""
    return request.path.startswith(PREFIXES)


def serve(folder: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of GET PREFIX{name}: the file of that name below *folder*."""
    #: What is there is kept, so there are never more than files of this project.
    kept: dict[Path, _File] = {}
    root = folder.resolve()

    async def file(request: web.Request) -> web.Response:
        path = _path(root, request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        found = kept.get(path)
        stat = path.stat()
        etag = f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
        if found is None or found.etag != etag:
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found = kept[path] = _File(path.read_bytes(), etag, kind)
        headers = {"ETag": f'"{etag}"', "Cache-Control": "no-cache"}
        if any(each.value in (etag, "*") for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        check_rate(request, "files", cost=len(found.body) / 1e6)
        return web.Response(body=found.body, content_type=found.content_type, headers=headers)

    return file


def _path(root: Path, name: str) -> Path | None:
    """The file called *name*; None where there is none."""
    if len(name) > MOST_NAME or "\x00" in name:
        return None
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):
        return None
