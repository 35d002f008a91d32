"""R2Z2 for who polls as fast as it may: what is in memory, and what is not there yet, is answered at once.

Everything else, such as a number that has to be read, HEAD, or conditions, goes the way of every request and says the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from aiohttp import web

from killsync.feed.entries import Entries, Gone, NotThere
from killsync.feed.public import CORS, NEVER_KEPT, error_body
from killsync.feed.words import FOR_EVER, GONE, NOT_THERE, number_of, sequence_body
from killsync.observability import metrics
from killsync.settings import Settings
from killsync.web.protocol import LEAST_TAKEN
from killsync.web.quick import DateLine, Ready, head, is_plain
from killsync.web.rates import Limiter
from killsync.web.security import TOO_MANY, address_of, is_https_site, seconds_to_wait

PREFIX = "/ephemeral/"
_SEQUENCE, _ENTRY = f"{PREFIX}sequence.json", f"{PREFIX}{{number}}.json"


class Polling:
    """Answers at once what it can; *entries* are this process's."""

    def __init__(self, settings: Settings, limiter: Limiter, entries: Entries) -> None:
        self._settings, self._limiter, self._entries = settings, limiter, entries
        self._is_https = is_https_site(settings)
        self._date = DateLine()
        kept = {**CORS, "Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        self._entry = self._head("200 OK", kept)
        self._newest = self._head("200 OK")
        self._not_there = self._head("404 Not Found"), _rest(error_body(NOT_THERE))
        self._gone = self._head("410 Gone"), _rest(error_body(GONE))
        self._too_many = self._head("429 Too Many Requests")

    def _head(self, status: str, headers: Mapping[str, str] = NEVER_KEPT) -> bytes:
        return head(status, headers, is_https=self._is_https)

    def __call__(self, request: web.Request) -> Ready | None:
        """The answer, where it is at hand."""
        path = request.raw_path
        if not path.startswith(PREFIX) or not is_plain(request):
            return None
        if not self._is_https and "X-Forwarded-Proto" in request.headers:
            return None  # which may say that this is https
        began = time.monotonic()
        if path == _SEQUENCE:
            route, found = _SEQUENCE, self._sequence()
        elif path.endswith(".json"):
            route, found = _ENTRY, self._numbered(path[len(PREFIX) : -len(".json")], request)
        else:
            return None
        if found is None:
            return None
        if wait := self._seconds_to_wait(request):
            found = self._too_many + b"Retry-After: %d\r\n" % (int(wait) + 1), _rest(error_body(TOO_MANY))
        first, rest = found
        metrics.http_request("GET", route, "2xx" if first[9:10] == b"2" else "4xx", time.monotonic() - began)
        return Ready(b"%b%b%b" % (first, self._date.now(), rest))

    def _sequence(self) -> tuple[bytes, bytes] | None:
        newest = self._entries.newest_known()
        return None if newest is None else (self._newest, _rest(sequence_body(newest)))

    def _numbered(self, text: str, request: web.Request) -> tuple[bytes, bytes] | None:
        if not text.isascii() or not text.isdigit():
            return None
        try:
            found = self._entries.known(number_of(text))
        except NotThere:
            return self._not_there
        except Gone:
            return self._gone
        if found is None:
            return None
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, more = found.gzipped, b'ETag: "%b-gzip"\r\nContent-Encoding: gzip\r\n'
        else:
            body, more = found.body, b'ETag: "%b"\r\n'
        # What is large is given only to who takes what it was given before (`killsync.web.connections`).
        return None if len(body) > LEAST_TAKEN else (self._entry + more % found.etag.encode(), _rest(body))

    def _seconds_to_wait(self, request: web.Request) -> float:
        """0.0 where the caller's address may ask now; it is counted as the rest of the web counts it."""
        address = address_of(request, self._settings)
        return seconds_to_wait(self._limiter, "request", address) or seconds_to_wait(self._limiter, "feed", address)


def _rest(body: bytes) -> bytes:
    """What follows the head's last line of its own."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
