"""Fetching a static data export: the number of the newest build, and its archive, streamed to a file.

A download that is cut goes on where it stopped, or begins anew where the server does not let it. What is not whole is never given
out. Source: https://developers.eveonline.com/docs/services/static-data/.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import aiohttp

from killsync import http_session
from killsync.causes import cause
from killsync.settings import Settings
from killsync.static_data.archive import BadArchive, Build, read_latest

#: The real archive has about 80 MB.
MOST_ARCHIVE = 1_000_000_000
MOST_LATEST = 1_000_000
#: How often a download that was cut is tried again, and the pause before, seconds.
TRIES = 5
PAUSE_SECONDS = 2.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_connect=10, sock_read=30)

#: Told of progress: bytes that are there, and bytes in all where that is known.
Progress = Callable[[int, int | None], None]


class DownloadFailed(Exception):
    """The export could not be fetched; the text says from where and why."""


async def newest(settings: Settings) -> Build:
    """The newest build that CCP has published.

    Raises:
        DownloadFailed: it could not be asked for, or the answer names none.
    """
    url = f"{settings.static_data_url}/latest.jsonl"
    try:
        async with http_session.session().get(url, headers=_headers(settings), timeout=_TIMEOUT) as answer:
            if answer.status != 200:
                raise DownloadFailed(f"{url} answered {answer.status}")
            text = await answer.content.read(MOST_LATEST + 1)
            while not answer.content.at_eof() and len(text) <= MOST_LATEST:
                text += await answer.content.read(MOST_LATEST)
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise DownloadFailed(f"{url} does not answer ({cause(error)})") from None
    if len(text) > MOST_LATEST:
        raise DownloadFailed(f"{url} is larger than {MOST_LATEST:,} bytes")
    try:
        return read_latest(text)
    except BadArchive as error:
        raise DownloadFailed(f"{url} is not usable: {error}") from None


def download(settings: Settings, build: Build, folder: Path, progress: Progress | None = None) -> Path:
    """The whole archive of *build* as a file in *folder*. Blocking: call it from a worker thread.

    Raises:
        DownloadFailed: it could not be fetched whole.
        OSError: the file cannot be written.
    """
    name = f"eve-online-static-data-{build.number}-jsonl.zip"
    url = f"{settings.static_data_url}/{name}"
    reason = ""
    with (folder / f"{name}.part").open("wb") as file:
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_SECONDS * attempt)
            try:
                if http_session.run(_fetch(settings, url, file, progress)):
                    break
                reason = "the download was cut"
            except (aiohttp.ClientError, ConnectionError, TimeoutError, asyncio.IncompleteReadError) as error:
                reason = f"the connection failed ({cause(error)})"
        else:
            raise DownloadFailed(f"{url}: {reason}, {TRIES} times")
    return Path(file.name).rename(folder / name)


async def _fetch(settings: Settings, url: str, file: IO[bytes], progress: Progress | None) -> bool:
    """Fetch what *file* lacks at its end; whether it is whole now."""
    there = file.tell()
    headers = {**_headers(settings), **({"Range": f"bytes={there}-"} if there else {})}
    async with http_session.session().get(url, headers=headers, timeout=_TIMEOUT) as answer:
        if answer.status >= 500 or answer.status == 429:
            return False
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        if not goes_on:
            # Another file than the one that was begun, or a server that gives no parts: all of it anew.
            file.seek(0)
            file.truncate()
            there = 0
        if answer.status in (206, 416) and not goes_on:
            return False
        if answer.status not in (200, 206):
            raise DownloadFailed(f"{url} answered {answer.status}")
        total = None if answer.content_length is None else there + answer.content_length
        async for chunk in answer.content.iter_chunked(262_144):
            there += len(chunk)
            if there > MOST_ARCHIVE:
                raise DownloadFailed(f"{url} is larger than {MOST_ARCHIVE:,} bytes")
            file.write(chunk)
            if progress is not None:
                progress(there, total)
        return total is None or there == total


def _headers(settings: Settings) -> dict[str, str]:
    return {"User-Agent": settings.user_agent, "Accept-Encoding": "identity"}
