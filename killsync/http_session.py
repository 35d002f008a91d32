"""One event loop and one aiohttp session per process for every outgoing request.

Worker threads call `run(coroutine)` and wait; the coroutine runs on a loop thread (Dramatiq's, where its AsyncIO
middleware started one). The session keeps connections alive and is bound to its loop. No request is made here.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.request import getproxies
from weakref import WeakKeyDictionary

import aiohttp
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

from killsync.causes import cause

T = TypeVar("T")

#: Seconds: to connect, between two reads, and in all. ESI's own gateway gives up after about a minute.
TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10, sock_connect=10, sock_read=30)

#: Most connections of a process at a time. Three messages of history have fewer killmails; on SQLite more, some of which wait.
CONNECTIONS = 256


class ConnectionLost(aiohttp.ClientError):
    """The connection broke before an answer came."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once. aiohttp would repeat a GET whose connection broke, which ESI counts and our rate limit does not."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(cause(error)) from error


class HttpSessions:
    """The loop thread of a process and one aiohttp session for each loop that asks for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: EventLoopThread | None = None
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
        #: What closes other sessions of the running loop, which end with this one.
        self.also_close: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the process's loop thread and wait for it in the calling thread."""
        thread = get_event_loop_thread() or self._own_thread()
        return thread.run_coroutine(coroutine)

    def session(self) -> aiohttp.ClientSession:
        """The aiohttp session of the running loop: keep-alive, gzip, no cookies, no redirects followed, nothing sent twice."""
        loop = asyncio.get_running_loop()
        found = self._sessions.get(loop)
        if found is None or found.closed:
            found = self._sessions[loop] = aiohttp.ClientSession(
                timeout=TIMEOUT,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ttl_dns_cache=300),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Asked for only where the environment names a proxy: aiohttp looks again, in a thread, for each request.
                trust_env=bool(getproxies()),
                middlewares=(_once,),
            )
        return found

    async def close_session(self) -> None:
        """Close the running loop's sessions, at the end of a process or a test."""
        for close_other in self.also_close:
            await close_other()
        found = self._sessions.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.close()

    def close(self) -> None:
        """Close the loop thread that `run` started, with its session. Dramatiq's own thread is Dramatiq's to stop."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            thread.run_coroutine(self.close_session())
            thread.stop()

    def _own_thread(self) -> EventLoopThread:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = EventLoopThread(logging.getLogger("killsync.http_session"))
                self._thread.daemon = True
                self._thread.start(timeout=5)
                atexit.register(self.close)
            return self._thread


_process = HttpSessions()
run, session, close_session, close = _process.run, _process.session, _process.close_session, _process.close
also_close = _process.also_close
