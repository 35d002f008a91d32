"""Values of HTTP headers that are made over and over."""

from __future__ import annotations

import hashlib
from email.utils import formatdate
from functools import lru_cache


@lru_cache(maxsize=4096)
def http_date(second: int) -> str:
    """An HTTP date of whole epoch seconds."""
    return formatdate(second, usegmt=True)


def etag_of(body: bytes) -> str:
    """The ETag of a body, without its quotes."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
