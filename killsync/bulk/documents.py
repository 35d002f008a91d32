"""Killmails in JSON, in the wrappings in which they are found: which killmail it is, its hash, and its body as ESI gave it. Pure.

| Found at | Is |
|---|---|
| ESI, archives of EVE Ref | the body, perhaps with `killmail_hash` and `http_last_modified` beside its own fields |
| zKillboard's API of old | the body with `zkb`, whose `hash` it is |
| R2Z2 and Killsync's own feed | `killmail_id`, `hash`, `zkb`, and the body as `esi` |
| elsewhere | `killmail_hash`, and the body as `killmail` |
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from killsync.esi import schemas

#: The fields that others put beside ESI's own.
_ADDED = ("killmail_hash", "http_last_modified", "hash", "zkb")
_BODIES = ("esi", "killmail")
#: A killmail's hash is a SHA-1, wherever it stands in a name.
_IN_NAME = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])")

Fields = dict[str, msgspec.Raw]
_fields = msgspec.json.Decoder(Fields)
_list = msgspec.json.Decoder(list[msgspec.Raw])
_id = msgspec.json.Decoder(schemas.Int64)
_hash = msgspec.json.Decoder(schemas.Hash)


class _Zkb(msgspec.Struct):
    hash: schemas.Hash | None = None


_zkb = msgspec.json.Decoder(_Zkb)


class BrokenDocument(ValueError):
    """It is no killmail; the text says why."""


class Document(NamedTuple):
    """A killmail whose body is not checked yet. *text* is ESI's JSON of it; without a hash it cannot be stored."""

    killmail_id: int
    killmail_hash: str | None
    text: bytes


def read(text: bytes, name: str) -> Document:
    """The killmail in *text*; *name* is that of its file, which may have the hash.

    Raises:
        BrokenDocument: it is none.
    """
    outer = _decoded(_fields, text)
    inner = outer
    for field in _BODIES:
        if field in outer and "victim" not in outer:
            inner = _decoded(_fields, bytes(outer[field]))
            break
    if "killmail_id" not in inner:
        raise BrokenDocument("killmail_id is missing")
    killmail_id = _decoded(_id, inner["killmail_id"])
    if killmail_id < 1:
        raise BrokenDocument("killmail_id is no id")
    digest = _hash_in(inner) or (_hash_in(outer) if outer is not inner else None) or _hash_in_name(name)
    if any(field in inner for field in _ADDED):
        text = msgspec.json.encode({field: value for field, value in inner.items() if field not in _ADDED})
    elif inner is not outer:
        text = msgspec.json.encode(inner)
    return Document(killmail_id, digest, text)


def _hash_in(fields: Fields) -> str | None:
    for field in ("killmail_hash", "hash"):
        if field in fields and (found := _decoded(_hash, fields[field])):
            return found
    return _decoded(_zkb, fields["zkb"]).hash if "zkb" in fields else None


def _hash_in_name(name: str) -> str | None:
    found = _IN_NAME.findall(name)
    return found[-1] if found else None


def checked(document: Document) -> schemas.ServedKillmail:
    """Its body, checked as ESI's answers are.

    Raises:
        BrokenDocument: ESI has never given this.
    """
    try:
        return schemas.killmail(document.text, document.killmail_id)
    except (schemas.NotJson, schemas.ShapeError) as error:
        raise BrokenDocument(str(error)) from None


def is_list(text: bytes) -> bool:
    """Whether *text* is a list rather than one killmail."""
    return text.lstrip()[:1] == b"["


def entries(text: bytes) -> list[bytes]:
    """The entries of a list.

    Raises:
        BrokenDocument: it is no whole list.
    """
    return [bytes(entry) for entry in _decoded(_list, text)]


def _decoded(decoder: Any, text: Any) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise BrokenDocument("JSON is malformed: nested too deep") from None
    except msgspec.ValidationError as error:
        raise BrokenDocument(schemas.readable(str(error))) from None
    except ValueError as error:
        raise BrokenDocument(str(error)) from None
