"""Bringing the static data up to date: by the newest build of CCP's, or by a file that the operator has."""

from __future__ import annotations

import math
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import peewee
import psycopg2

from killsync import http_session, leases
from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.static_data import archive, download, store
from killsync.static_data.archive import BadArchive, Build
from killsync.static_data.download import DownloadFailed, Progress
from models.db import connection
from models.errors import DatabaseAway

log = get_logger("static_data")

#: One process loads at a time, and says so every RENEW_SECONDS; one that died is taken to be dead after LEASE_SECONDS.
LEASE_SECONDS, RENEW_SECONDS = 120.0, 20.0
_LEASE = "static-data"


class UpdateFailed(Exception):
    """The build that was loaded stays; the text is one line that says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What an update did. `changed` rows; 0 where the build was loaded already."""

    build: Build
    changed: int
    was_loaded: bool = False


def update(settings: Settings, file: Path | None = None, progress: Progress | None = None) -> Outcome:
    """Load *file*, or else the newest build if it is not loaded yet. Blocking: seconds to minutes.

    Raises:
        UpdateFailed: nothing was changed.
    """
    try:
        with _lease():
            return _load(file) if file is not None else _newest(settings, progress)
    except BadArchive as error:
        raise UpdateFailed(f"the archive is not usable: {error}") from None
    except DownloadFailed as error:
        raise UpdateFailed(f"{error}: check the network and STATIC_DATA_URL, or load a file with --file") from None
    except OSError as error:
        raise UpdateFailed(f"{file or 'the download'}: {error.strerror or error}") from None


@contextmanager
def _lease() -> Iterator[None]:
    """The right to load, over all processes, while the block runs.

    Raises:
        UpdateFailed: another process has it.
    """
    holder = uuid.uuid4().hex
    with connection():
        if not leases.acquire(_LEASE, holder, LEASE_SECONDS):
            left = max(1, math.ceil(leases.seconds_left(_LEASE) or 0.0))
            raise UpdateFailed(
                f"another process is loading static data: wait for it to end, or for {left} s if it was killed"
            )
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(holder, ended), name="static-data-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with connection():
            leases.release(_LEASE, holder)


def _renew(holder: str, ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        try:
            with connection():
                leases.acquire(_LEASE, holder, LEASE_SECONDS)
        except (peewee.PeeweeException, psycopg2.Error, DatabaseAway) as error:
            # On SQLite the load itself holds the database. The lease has some rounds left.
            log.debug("lease not renewed", reason=type(error).__name__)


def _newest(settings: Settings, progress: Progress | None) -> Outcome:
    build = http_session.run(download.newest(settings))
    with connection():
        store.record_newest(build.number)
        loaded = store.loaded()
    if loaded is not None and loaded.number >= build.number:
        return Outcome(loaded, 0, was_loaded=True)
    with tempfile.TemporaryDirectory(prefix="killsync-static-data-") as folder:
        outcome = _load(download.download(settings, build, Path(folder), progress))
    if outcome.build.number != build.number:
        log.warning("static data names another build", wanted=build.number, loaded=outcome.build.number)
    return outcome


def _load(file: Path) -> Outcome:
    data = archive.read(file)
    with connection():
        changed = store.load(data)
    log.info("static data loaded", build=data.build.number, changed=changed)
    return Outcome(data.build, changed)
