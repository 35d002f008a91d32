"""A result as JSON, a large one in slices between which others have the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from models.work import SLICE_SECONDS

#: Levels of a result that are written piece by piece: the response, its data, a page, its edges.
_LEVELS = 4


async def encode(result: dict[str, Any], wrapped: int = 0) -> bytes:
    """*result* as JSON; the response lies *wrapped* levels deep in it."""
    return b"".join(await _Writer().pieces(result, _LEVELS + wrapped))


class _Writer:
    def __init__(self) -> None:
        self._slice_began = time.monotonic()

    async def pieces(self, value: Any, levels: int) -> list[bytes]:
        """The JSON of *value* in pieces; what lies deeper than *levels* is one piece."""
        kind = type(value)
        if not levels or kind not in (dict, list) or not value:
            if time.monotonic() - self._slice_began > SLICE_SECONDS:
                await asyncio.sleep(0)
                self._slice_began = time.monotonic()
            return [msgspec.json.encode(value)]
        found: list[bytes] = []
        if kind is dict:
            for key, each in value.items():
                found += (b"," if found else b"{", msgspec.json.encode(key), b":")
                found += await self.pieces(each, levels - 1)
            found.append(b"}")
        else:
            for each in value:
                found.append(b"," if found else b"[")
                found += await self.pieces(each, levels - 1)
            found.append(b"]")
        return found
