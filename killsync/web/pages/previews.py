"""What a tracker would tell, on the pages that ask before anything is saved: a few are looked at a time, accounts in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from killsync.accounts.viewer import Viewer
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import to_address
from killsync.killmails.filter_words import sentence
from killsync.web.turns import Turns
from killsync.webhooks.form import names_in
from killsync.webhooks.preview import Preview, preview
from models.threads import read_db

#: Previews that are made at a time: each holds a thread of the database's.
MOST_PREVIEWS = 3
_PREVIEWS = web.AppKey("previews", Turns)


@dataclass(frozen=True)
class Outlook:
    """What a filter would tell.

    Attributes:
        chosen: the filter.
        said: it in a sentence.
        preview: what it would have told lately.
    """

    chosen: KillmailFilter
    said: str
    preview: Preview

    @property
    def query(self) -> str:
        """The filter as the query of an address."""
        return urlencode(to_address(self.chosen))


async def outlook(request: web.Request, viewer: Viewer, read: Callable[[], KillmailFilter]) -> Outlook:
    """What the filter that *read* gives would have told, which looks at every killmail of a week: one at a time for an account.

    Raises:
        Busy: too many wait already.
    """

    def look() -> Outlook:
        chosen = read()
        return Outlook(chosen, sentence(chosen, names_in([chosen])), preview(chosen))

    async with request.app[_PREVIEWS].turn(f"account {viewer.account_id}"):
        return await read_db(look)


def setup(app: web.Application) -> None:
    """Give previews their places."""
    app[_PREVIEWS] = Turns(1, MOST_PREVIEWS)
