"""What a process and whoever started it say to each other: ready and stopping, the end of the manager, a signal that comes twice.

Managers are systemd, honcho, Dramatiq's main process and container engines. Nothing here knows what the process does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import psutil

#: Seconds between two looks whether the manager lives.
LOOK_SECONDS = 1.0
#: A signal that comes again within so many seconds is the same one: honcho signals the whole group, and Dramatiq's main
#: process, which is in it, passes it on.
SAME_SIGNAL_SECONDS = 3.0


def notify(state: str) -> None:
    """Tell systemd *state*, such as `READY=1`, where it asked to be told. (https://man7.org/linux/man-pages/man3/sd_notify.3.html)"""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return  # it asked and went away; nobody is left to be told


def end_with_manager(*, with_parent: bool = False) -> None:
    """End this process by SIGTERM when honcho, which started it, was killed and could not do so itself.

    Args:
        with_parent: also when the process that started this one is gone, whatever it is.
    """
    watched = _managers(with_parent=with_parent)
    if watched:
        threading.Thread(target=_watch, args=(watched,), name="manager", daemon=True).start()


def _managers(*, with_parent: bool) -> list[psutil.Process]:
    try:
        ancestors = psutil.Process().parents()
        if "HONCHO_PROCESS_NAME" not in os.environ:
            return ancestors[:1] if with_parent else []
        # honcho, its copy of itself that reads our output, perhaps a shell: all up to the first that is honcho's own.
        last = max((place for place, each in enumerate(ancestors) if _is_honcho(each)), default=-1)
        return ancestors[: max(last + 1, int(with_parent))]
    except psutil.Error:
        return []


def _is_honcho(process: psutil.Process) -> bool:
    try:
        return any(os.path.basename(word) == "honcho" for word in process.cmdline()[:3])  # noqa: PTH119
    except psutil.Error:
        return False


def _watch(managers: list[psutil.Process]) -> None:
    while all(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in managers):
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def take_once(number: int, first: Callable[[], None]) -> None:
    """Have the handler of a signal called once when the same signal comes twice at a time. In the main thread only.

    Args:
        first: is called before the handler; it neither waits nor raises.
    """
    handler: Any = signal.getsignal(number)
    if not callable(handler):
        return
    came_at = -SAME_SIGNAL_SECONDS

    def once(signal_number: int, frame: FrameType | None) -> Any:
        nonlocal came_at
        before, came_at = came_at, time.monotonic()
        if came_at - before < SAME_SIGNAL_SECONDS:
            return None
        first()
        return handler(signal_number, frame)

    signal.signal(number, once)


def listener(port: int) -> str | None:
    """Which process listens on *port* of this host, as `process 1234 (python -m graphql_api)`; None when that cannot be seen."""
    try:
        held = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.laddr)
        number = next((each.pid for each in held if each.laddr.port == port and each.pid), None)
        if number is None:
            return None
        words = psutil.Process(number).cmdline()
    except (psutil.Error, OSError):
        return None
    return f"process {number} ({' '.join([os.path.basename(words[0]), *words[1:4]]) if words else 'unknown'})"  # noqa: PTH119
