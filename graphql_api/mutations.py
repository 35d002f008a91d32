"""Resolvers of Mutation: each needs a login and acts on the caller's own characters."""

from __future__ import annotations

from typing import Any

from dramatiq.errors import BrokerConnectionError

from graphql_api.context import Context, active, one_user
from graphql_api.errors import BadInput, Forbidden, Unavailable
from killsync.access import admission
from killsync.esi.errors import EsiError
from killsync.killmails import esi_url, queries
from killsync.killmails.fetch import KillmailRefused, submit
from killsync.killmails.killmail import Killmail
from killsync.sync import run_queries
from killsync.sync.characters import request_sync
from killsync.sync.run_queries import RunSummary
from killsync.web.security import client_ip
from models.threads import in_db, in_service
from models.users import DISABLED

Arguments = dict[str, Any]

#: What ESI takes for an answer of 4xx and of 200, tokens (https://developers.eveonline.com/docs/services/esi/rate-limiting/).
NO_KILLMAIL_TOKENS, KILLMAIL_TOKENS = 5, 2


async def sync_my_killmails(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> RunSummary | None:
    """Start a sync now; one that is under way is joined."""
    user = active(one_user(await context.changer(), arguments.get("characterId")))
    try:
        run_id = await in_service(request_sync, user.id, "asked for")
    except BrokerConnectionError:
        raise Unavailable("the message broker does not answer: the next scheduled sync comes by itself") from None
    return await in_db(run_queries.run_summary, run_id)


async def submit_killmail(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> Killmail | None:
    """Fetch one killmail by its address at ESI."""
    person = await context.changer()
    try:
        killmail_id, killmail_hash = esi_url.parse(arguments["url"], context.settings.esi_url)
        known = await in_db(queries.killmail, killmail_id)
        if known is not None:
            return known
        # What is no killmail costs most, and is paid by what everybody's syncs live on: each has a small share of that.
        context.spend_tokens(person, NO_KILLMAIL_TOKENS)
        await in_service(submit, killmail_id, killmail_hash)
        context.give_tokens_back(person, NO_KILLMAIL_TOKENS - KILLMAIL_TOKENS)
    except (esi_url.BadUrl, KillmailRefused) as error:
        raise BadInput(str(error), argument="url") from None
    except EsiError as error:
        if not error.transient:
            raise Unavailable(f"ESI's answer was not usable: {error}") from None
        raise Unavailable(f"ESI cannot be asked now; the killmail comes by itself: {error}") from None
    return await in_db(queries.killmail, killmail_id)


async def disconnect(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> bool:
    """Revoke and forget a character's tokens."""
    changer = await context.changer()
    user = one_user(changer, arguments.get("characterId"))
    if not changer.may_remove(user):
        raise Forbidden(f"{user.character_name} was here before the character that you logged in as")
    if user.status == DISABLED:
        return False
    await in_service(admission.disconnect, user, client_ip(context.request))
    return True
