"""The fields of a form that a browser posted."""

from __future__ import annotations

from aiohttp import web

#: Characters of a field that are looked at.
MOST_CHARACTERS = 2_100


async def read(request: web.Request) -> dict[str, str]:
    """The text of each field, without the space around it.

    Raises:
        web.HTTPBadRequest: the form cannot be read.
        web.HTTPRequestEntityTooLarge: it is too large.
    """
    if request.content_type.startswith("multipart/"):
        # No page of ours sends one, and each of its thousand files would be written to the disk.
        raise web.HTTPBadRequest(text="Send this form as application/x-www-form-urlencoded.\n")
    try:
        posted = await request.post()
    except web.HTTPException:
        raise
    except (LookupError, ValueError, AssertionError, RuntimeError, web.RequestPayloadError):
        # Whatever a parser of forms has to say about an unknown charset, bytes that are none, or a boundary that is not there.
        raise web.HTTPBadRequest(text="This form cannot be read.\n") from None
    fields = {name: value.strip()[:MOST_CHARACTERS] for name, value in posted.items() if isinstance(value, str)}
    if any("\x00" in value for value in fields.values()):
        raise web.HTTPBadRequest(text="A form may not hold the character NUL.\n")
    return fields
