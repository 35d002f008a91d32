"""Letting characters in at their login, and seeing once a day that they still belong here. Asks ESI; blocking.

Costs: a login asks ESI at most once in KEEP_SECONDS a character, the daily look one request for a thousand characters.
"""

from __future__ import annotations

from enum import Enum

from killsync import settings as settings_module
from killsync.access import audit, members, store
from killsync.accounts import accounts
from killsync.esi import affiliations, errors
from killsync.esi.client import shared
from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.sso.refresh import revoke
from killsync.sync import affiliations as corporations
from killsync.webhooks import giving_up
from models import connection
from models.users import User
from models.webhooks import ACTIVE, Webhook

log = get_logger("access")

#: What ESI said of a character this long ago counts at a login, seconds. ESI itself keeps affiliations for an hour.
KEEP_SECONDS = 900.0
#: Characters that one look disconnects; the next one goes on.
MOST_LEFT = 100


class Admission(Enum):
    """What came of a login."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    #: ESI did not say where the character belongs.
    UNKNOWN = "unknown"


def admit(character_id: int) -> Admission:
    """Whether a character that proved who it is may log in now."""
    settings = settings_module.current()
    verdict = members.is_allowed(settings, character_id, None)
    if verdict is not None:
        return Admission.ALLOWED if verdict else Admission.REFUSED
    with connection():
        where = store.fresh(character_id, KEEP_SECONDS)
    if where is None:
        answer = affiliations.look_up([character_id])
        with connection():
            store.note(answer.found)
            where = members.known([character_id]).get(character_id)
        if not answer.found and members.is_allowed(settings, character_id, where) is not True:
            log.warning("a login cannot be checked", character_id=character_id, reason=str(answer.error or "no answer"))
            return Admission.UNKNOWN
    verdict = members.is_allowed(settings, character_id, where)
    if verdict is None:
        return Admission.UNKNOWN
    return Admission.ALLOWED if verdict else Admission.REFUSED


def disconnect(user: User, address: str) -> None:
    """End Killsync's access to a character, as its owner wishes: its tokens and syncs end, its killmails stay."""
    revoke(user.id)
    with connection():
        _end(user, audit.DISCONNECT, address=address)


def _end(user: User, event: str, *, detail: str = "", address: str | None = None) -> None:
    """Disconnect a character whose tokens were revoked, and record why."""
    accounts.disconnect(user.id)
    audit.record(
        event, subject=user.character_name, account_id=user.account_id, character_id=user.character_id,
        detail=detail, address=address,
    )  # fmt: skip


def is_wanted() -> bool:
    """Whether somebody is to be asked about, or is known to have left."""
    settings = settings_module.current()
    return bool(settings.login_allowed) and (store.is_due() or bool(members.strangers(settings, 1)))


def check_members() -> None:
    """Ask ESI where those belong whose answer is a day old; who may not log in any more is disconnected."""
    settings = settings_module.current()
    if not settings.login_allowed:
        return
    with connection():
        due = store.claim_due(affiliations.MOST)
    if due:
        answer = affiliations.look_up(due)
        if answer.error is not None:
            log.warning("members not checked", waiting=len(due) - len(answer.found), reason=str(answer.error))
        missing = [number for number in due if number not in answer.found] if answer.error is None else []
        with connection():
            store.note(answer.found, missing)
            corporations.learn(answer.found)
    with connection():
        left = members.strangers(settings, MOST_LEFT)
    if not left:
        return
    if problem := unusable(settings):
        log.error("nobody is disconnected: LOGIN_ALLOWED may be wrong", reason=problem, characters=len(left))
        return
    for user in left:
        _let_go(settings, user)


def unusable(settings: Settings) -> str | None:
    """What is wrong with an id of LOGIN_ALLOWED by ESI's word, or that it cannot be asked; None when all are good."""
    chosen = members.allowed(settings)
    if chosen is None:
        return None
    client = shared(settings)
    for kind, ids, ask in (
        ("corporation", chosen.corporations, client.corporation),
        ("alliance", chosen.alliances, client.alliance),
    ):
        for number in sorted(ids):
            try:
                ask(number)
            except (errors.NotFound, errors.BadRequest):
                return f"LOGIN_ALLOWED names {kind}:{number}, and ESI knows no {kind} of that id"
            except errors.EsiError as error:
                return f"{kind}:{number} of LOGIN_ALLOWED could not be looked up: {error}"
    return None


def _let_go(settings: Settings, user: User) -> None:
    """Disconnect a character that left: its tokens and syncs end, its killmails stay."""
    revoke(user.id)
    with connection():
        _end(user, audit.MEMBER_LEFT, detail="may not log in any more")
        if user.account_id is not None and not members.lets_in(settings, accounts.users_of(user.account_id)):
            active = Webhook.select(Webhook.id).where(
                (Webhook.account_id == user.account_id) & (Webhook.status == ACTIVE)
            )
            for webhook in active:
                giving_up.disable(webhook.id, "No character of this account may log in here any more.")
    log.info("a member left", character_id=user.character_id)
