"""A corporation's or alliance's ticker, when a page that shows it was opened: one request each, once a day at most."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.errors import Retry

import logs
import settings as settings_module
from actors.broker import ENRICHMENT
from esi import errors
from esi.client import shared
from models import subjects

log = logs.get("enrichment")

#: The longest ticker that is stored; the game has at most five characters.
MOST_CHARACTERS = 20


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=50)
def fetch_ticker(kind: str, subject_id: int, **_newer: Any) -> None:
    """Ask ESI for the ticker and store it. An answer that does not come is asked for again the next day, not now."""
    known = subjects.KINDS.get(kind)
    if known is None or not subjects.needs_ticker(known, subject_id):
        return
    client = shared(settings_module.current())
    try:
        answer = client.corporation(subject_id) if kind == "corporation" else client.alliance(subject_id)
    except errors.NoToken as error:
        raise Retry(delay=int(1000 * (error.retry_after or 15.0))) from None
    except errors.EsiError as error:
        log.warning("ticker not stored", kind=kind, subject_id=subject_id, reason=str(error))
        return
    ticker = answer.get("ticker")
    if isinstance(ticker, str) and 0 < len(ticker) <= MOST_CHARACTERS:
        subjects.store_ticker(known, subject_id, ticker.replace("\x00", ""))


def ask(subject: subjects.Subject) -> None:
    """Have the ticker fetched if it is unknown and was not asked for within a day."""
    if subjects.claim_ticker(subject):
        fetch_ticker.send(subject.kind.word, subject.id)
