"""Hosts whose clocks are wrong by minutes."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import time_machine

from killsync.settings import Settings
from killsync.sso.errors import BadToken
from killsync.sso.jwt import verify
from tests.support.deployment import CLIENT
from tests.support.esi_application import SCOPE


@pytest.mark.parametrize("minutes", [-2, 2])
async def test_a_token_verifies_on_a_host_whose_clock_is_two_minutes_off(simulated: Any, minutes: int) -> None:
    handle = simulated(kills=(1,))
    pilot = handle.simulator.universe.demo_characters[0].character_id
    token = handle.call(lambda sim: sim.sso.access_token(pilot, CLIENT[0], (SCOPE,)))
    settings = Settings(esi_url=handle.url, sso_url=handle.url, sso_client_id=CLIENT[0], sso_client_secret=CLIENT[1])
    now = datetime.datetime.now(datetime.UTC)
    with time_machine.travel(now + datetime.timedelta(minutes=minutes), tick=True):
        assert (await verify(settings, token)).character_id == pilot
    with time_machine.travel(now + datetime.timedelta(minutes=21), tick=True), pytest.raises(BadToken, match="Expired"):
        await verify(settings, token)


def test_what_a_host_with_a_wrong_clock_plans_is_due_at_the_right_moment(settings: Any) -> None:
    from killsync.sync import lists, user_polls
    from killsync.sync.lists import PageState
    from models import connection, utcnow
    from models.fields import from_any
    from models.sql import rows, run

    soon = datetime.timedelta(seconds=30)
    for minutes in (-2, 2):
        with connection():
            run(f"INSERT INTO \"user\" (character_id, character_name) VALUES ({100 + minutes}, 'Somebody')")
            (user_id,) = rows('SELECT max(id) FROM "user"')[0]
            leased = lists.lease(user_id, "character", 100 + minutes, lists.Copy("message"), 60).leased
            assert leased is not None
            with time_machine.travel(utcnow() + datetime.timedelta(minutes=minutes), tick=True):
                lists.store_page(leased.list_id, 1, PageState("etag", None, utcnow() + soon, 1))
                mine = lists.page_state(leased.list_id, 1).expires_at
                assert mine is not None and abs(mine - utcnow() - soon) < datetime.timedelta(seconds=5)
                user_polls.record_sync(user_id, utcnow() + soon)
            told = lists.page_state(leased.list_id, 1).expires_at
            due = from_any(rows('SELECT next_sync_at FROM "user" WHERE id = %s', (user_id,))[0][0])
            for moment in (told, due):
                assert moment is not None and abs(moment - utcnow() - soon) < datetime.timedelta(seconds=5), minutes


def test_what_a_host_with_a_wrong_clock_notes_is_of_the_right_moment(settings: Any) -> None:
    from killsync.killmails import ledger
    from killsync.sync import lists
    from models import connection, utcnow
    from models.killmails import KillmailRef
    from models.sync import MailList
    from models.users import User

    a_moment = datetime.timedelta(seconds=5)
    with connection():
        for number, minutes in enumerate((-30, 30)):
            user = User.create(character_id=100 + number, character_name="Somebody")
            with time_machine.travel(utcnow() + datetime.timedelta(minutes=minutes), tick=True):
                leased = lists.lease(user.id, "character", user.character_id, lists.Copy("message"), 60).leased
                assert leased is not None
                lists.move_cursor(leased, None, ended=True)
                ledger.record_page(user.id, None, [(1 + 2 * number, "a" * 40)], ledger.FRESH)
                ledger.add_submitted(2 + 2 * number, "a" * 40)
                again = lists.lease(user.id, "character", user.character_id, lists.Copy("message", (), True), 60).leased
                assert again is not None and again.walked_at is not None
                assert abs(utcnow() - again.walked_at) < a_moment, "by the clock of the host that reads it"
            noted = [MailList.get_by_id(leased.list_id).walked_at]
            noted += [
                ref.discovered_at for ref in KillmailRef.select().order_by(KillmailRef.killmail_id.desc()).limit(2)
            ]
            assert all(abs(moment - utcnow()) < a_moment for moment in noted), (minutes, noted)
