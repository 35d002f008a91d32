"""What the board learns of when people fight: made of its history, stored, planned by, and shown, on either database."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import dramatiq
import pytest

from killsync.sync import characters, history, poll_table, user_polls
from killsync.sync.hazard import Rhythm, by_law
from killsync.sync.list_owner import ListRead
from models import connection, utcnow
from models.fields import to_text
from models.killmails import CHARACTER
from models.sql import insert_rows, rows, run
from models.sync import PollTable
from models.threads import in_db
from models.users import User
from tests.support.player import Player
from tests.support.web_server import served

CORPORATION_ID, PILOTS, EVENINGS = 98_000_123, 30, 40


def fill() -> list[int]:
    """A corporation that fights on evenings alone, every other day: three killmails each within an hour; ids of its users.

    Each killmail has one of them as the victim and another who is merely seen on it.
    """
    rng, midnight = random.Random(1), utcnow().replace(hour=0, minute=0, second=0, microsecond=0)
    run('DELETE FROM "user" WHERE character_id >= 7000 AND character_id < 8000')
    insert_rows('"user"', ("character_id", "character_name"), [(7000 + n, f"Pilot {n}") for n in range(PILOTS)])
    ids = dict(rows('SELECT character_id, id FROM "user" WHERE character_id >= 7000 AND character_id < 8000'))
    killmails, victims, named = [], [], []
    seen: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for evening in range(EVENINGS):
        for pilot in rng.sample(range(PILOTS), 9):
            start = midnight - timedelta(days=1 + 2 * evening) + timedelta(hours=19, minutes=rng.randrange(60))
            for _ in range(3):
                start += timedelta(minutes=rng.randrange(1, 20))
                number, moment, other = len(killmails) + 1, to_text(start), 7000 + (pilot + 1) % PILOTS
                killmails.append((number, "h", moment, 30_000_142, 1, to_text(utcnow())))
                victims.append((number, 7000 + pilot, CORPORATION_ID, 587, 1))
                seen["involved_victim"].append((7000 + pilot, None, moment, number))
                seen["involved_attacker"].append((other, None, moment, number))
                seen["involved_both"].append((None, CORPORATION_ID, moment, number))
                named.append((ids[7000 + pilot], number))
    insert_rows(
        "killmail",
        ("killmail_id", "killmail_hash", "killmail_time", "solar_system_id", "attacker_count", "created_at"),
        killmails,
    )
    insert_rows("victim", ("killmail_id", "character_id", "corporation_id", "ship_type_id", "damage_taken"), victims)
    for table, parties in seen.items():
        insert_rows(table, ("character_id", "corporation_id", "killmail_time", "killmail_id"), parties)
    insert_rows("user_killmail", ("user_id", "killmail_id"), named)
    return sorted(ids.values())


def planned(user_id: int, moment: datetime, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds from *moment* to the next poll of a user whose list was read just then and had nothing new."""
    noted: list[datetime] = []

    def record(_user_id: int, due: datetime, rhythm: Rhythm) -> None:
        noted.append(due)
        record_sync(_user_id, due, rhythm)

    record_sync = user_polls.record_sync
    with monkeypatch.context() as patched:
        patched.setattr(characters, "utcnow", lambda: moment)
        patched.setattr(user_polls, "record_sync", record)
        characters._schedule_next(User.get_by_id(user_id), ListRead(0, None))
    return (noted[0] - moment).total_seconds()


def test_history_is_read_as_it_was(settings: Any) -> None:
    with connection():
        users = fill()
        since = (utcnow() - timedelta(days=90)).timestamp()
        seen = list(history.sightings(users[:5], since))
        assert {each.user_id for each in seen} == set(users[:5])
        assert any(each.is_own for each in seen) and any(not each.is_own for each in seen)
        assert [(each.user_id, each.moment) for each in seen] == sorted((each.user_id, each.moment) for each in seen)
        ((moment,),) = rows("SELECT max(killmail_time) FROM involved WHERE character_id = 7000")
        newest = history.newest(CHARACTER, 7000)
        assert len(newest) == history.MOST_RECENT and newest == sorted(newest)
        assert to_text(newest[-1])[:19] == str(moment)[:19].replace("T", " ")
        assert dict(history.corporations(users)) == dict.fromkeys(users, CORPORATION_ID)
        judged = (utcnow() - timedelta(days=20)).timestamp()
        ((corporation, days, before),) = history.days_by_hour([CORPORATION_ID], since, judged)
        assert corporation == CORPORATION_ID and days[19] == EVENINGS and sum(days[21:]) + sum(days[:19]) == 0
        assert 0.6 * EVENINGS < before[19] < 0.9 * EVENINGS


def test_a_night_makes_a_table_that_plans_polls(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection():
        users = fill()
        assert poll_table.made() is None and poll_table.current().read().rates == by_law().rates
        User.update(logged_in_at=utcnow() - timedelta(days=80)).execute()
        night = utcnow().replace(hour=3, minute=0) + timedelta(days=2)
        evening = night.replace(hour=18)
        before = [planned(users[0], moment, monkeypatch) for moment in (night, evening)]
        assert before[1] == pytest.approx(before[0], rel=0.2), "a new board knows no habits"
    assert poll_table.make() > 500
    with connection():
        found = poll_table.made()
        assert found is not None and found[1] > 500
        table = poll_table.current().read()
        assert set(table.hours) == {CORPORATION_ID} and table.hours[CORPORATION_ID][19] > table.hours[CORPORATION_ID][6]
        at_night, by_day = (table.habits[int(table.hours[CORPORATION_ID][hour])] for hour in (6, 19))
        assert by_day > 1.5 and at_night < 0.5, "evenings alone"
        after = [planned(users[0], moment, monkeypatch) for moment in (night, evening)]
        assert after[1] < 0.7 * after[0], "asked sooner when the corporation uses to fight"
        user = User.get_by_id(users[0])
        assert user.typical_gap is not None and (user.recent_killmails or 0) > 1
    assert poll_table.make() == 0, "once a night"


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_everybodys_history_counts_once_however_many_are_read_together(
    settings: Any, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(poll_table, "BATCH", batch)
    now = utcnow().timestamp()
    with connection():
        seen = list(history.sightings(fill(), now - 90 * 86_400))
        # Between which killmails of theirs the first one lies, nobody knows.
        first = {each.user_id: each for each in reversed(seen)}
        counted = sum(each.is_own for each in seen) - sum(each.is_own for each in first.values())
        learner, _ = poll_table._learn(now)
        assert learner.events() == counted


async def test_the_dashboard_shows_the_curve(settings: Any, against: Any, simulated: Any) -> None:
    handle = simulated(kills=(2,), characters=12)
    admin_id = handle.simulator.universe.demo_characters[0].character_id
    async with served(against(handle, ADMIN_CHARACTER_IDS=str(admin_id))) as url, Player(url) as admin:
        assert (await admin.log_in(admin_id)).status == 302
        async with admin.browser.get(f"{url}/ops") as answer:
            assert "When people fight again" in (page := await answer.text()) and "the law of a new board" in page
        await in_db(fill)
        counted = await asyncio.to_thread(poll_table.make)
        async with admin.browser.get(f"{url}/ops") as answer:
            page = await answer.text()
        assert f"learned from {counted} killmails" in page and "killmails a day" in page
    dramatiq.get_broker().flush_all()


def test_a_board_without_anybody_learns_nothing_and_goes_by_the_law(settings: Any) -> None:
    assert poll_table.make() == 0
    with connection():
        made = poll_table.made()
    assert made is not None and made[1] == 0


@pytest.mark.parametrize("content", ["", '{"rates": []}', '{"rates": [[[0.1, 0.1]]], "habits": [1.0], "hours": {}}'])
def test_a_table_of_another_version_is_not_planned_by(settings: Any, content: str) -> None:
    """Its bins mean something else; until a night brings one of this version the law holds."""
    with connection():
        PollTable.insert(name="poll-table", content=content, killmails=1000, made_at=utcnow()).execute()
        poll_table.current().forget()
        assert poll_table.current().read().rates == by_law().rates
