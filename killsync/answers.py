"""What a service said when it refused: its own words, short enough for a line, without anything secret."""

from __future__ import annotations

import re

import msgspec

from killsync.logging import redact

#: The most of a service's own words that is shown, characters.
MOST_CHARACTERS = 200
#: A word that is longer and mixes capitals, small letters and digits may be a key, and is not shown.
_KEY_CHARACTERS = 24
_FIELDS = ("error", "error_description", "message", "detail", "title")


def said(body: bytes, *secrets: str) -> str:
    """The reason in a JSON answer such as `{"error": "..."}`; empty when it gives none, as an HTML page of a gateway does.

    Args:
        body: the whole answer.
        secrets: what was sent with the question and is blanked where the answer repeats it.
    """
    try:
        answer = msgspec.json.decode(body) if len(body) <= 65_536 else None
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    texts = [answer[name] for name in _FIELDS if isinstance(answer.get(name), str)]
    return shown(": ".join(dict.fromkeys(text for text in texts[:2] if text.strip())), *secrets)


def shown(text: str, *secrets: str) -> str:
    """*text* from outside as it may be shown and logged."""
    text = text[:4096]
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[redacted]")
    words = [word if not _may_be_key(word) else "[redacted]" for word in redact(text).split()]
    line = "".join(character for character in " ".join(words) if character.isprintable())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def _may_be_key(word: str) -> bool:
    return len(word) >= _KEY_CHARACTERS and all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


def answered(service: str, status: int, words: str) -> str:
    """`ESI answered 400: User-Agent names no contact`."""
    return f"{service} answered {status}: {words}" if words else f"{service} answered {status}"
