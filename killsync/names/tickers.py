"""A corporation's or alliance's ticker, when a page that shows it was opened: one request each, once a day at most."""

from __future__ import annotations

from dramatiq.errors import Retry

from killsync import settings as settings_module
from killsync.broker import queues
from killsync.broker.messages import send
from killsync.broker.running import running_message
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.logging import get_logger
from killsync.names import entities
from models.db import connection

log = get_logger("enrichment")

#: The longest ticker that is stored; the game has at most five characters.
MOST_CHARACTERS = 20
#: How often a message waits for a token of the budget; after that the ticker is left to the next day.
MOST_WAITS = 50


def fetch_ticker(kind: str, subject_id: int) -> None:
    """Ask ESI for the ticker and store it. An answer that does not come is asked for again the next day, not now."""
    known = entities.ENTITY_KINDS.get(kind)
    if known is None or not entities.needs_ticker(known, subject_id):
        return
    client = shared(settings_module.current())
    try:
        answer = client.corporation(subject_id) if kind == "corporation" else client.alliance(subject_id)
    except errors.NoToken as error:
        if running_message().tries >= MOST_WAITS or (error.retry_after or 0.0) > queues.MOST_DELAY_SECONDS:
            log.warning("ticker not stored", kind=kind, subject_id=subject_id, reason=str(error))
            return
        raise Retry(delay=int(1000 * (error.retry_after or 15.0))) from None
    except errors.EsiError as error:
        log.warning("ticker not stored", kind=kind, subject_id=subject_id, reason=str(error))
        return
    if 0 < len(answer.ticker) <= MOST_CHARACTERS:
        entities.store_ticker(known, subject_id, answer.ticker.replace("\x00", ""))


def ask(entity: entities.KnownEntity) -> None:
    """Have the ticker fetched if it is unknown and was not asked for within a day."""
    with connection():
        is_due = entities.claim_ticker(entity)
    if is_due:
        send("fetch_ticker", entity.kind.word, entity.id)
