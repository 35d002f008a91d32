"""Who may log in: at the callback and once a day, by the corporation that ESI names; and what is left of who may not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from killsync.access import admission, store
from killsync.sync.directors import join, record_refusal
from models import connection
from models.sql import rows, run
from simulator import Handle
from simulator.faults import Fault
from tests.support.player import Player
from tests.support.process import change_settings
from tests.support.web_server import served

OURS, OTHERS = 98_000_001, 98_000_002
HTML = {"Accept": "text/html"}
LONG_AGO = "2026-01-01 00:00:00.000000+00:00"


class Board:
    """A board of one corporation, with the simulator behind it. `ours` are in the corporation, `others` in another one."""

    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        characters = handle.simulator.universe.characters.values()
        self.ours = [each.character_id for each in characters if each.corporation_id == OURS]
        self.others = [each.character_id for each in characters if each.corporation_id != OURS]

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with connection():
            return rows(statement, values)

    def change(self, statement: str, *values: Any) -> None:
        with connection():
            run(statement, values)

    def asked(self) -> int:
        """How often ESI was asked where somebody belongs."""
        return int(
            self.handle.call(lambda sim: sum(n for (kind, _), n in sim.esi.answers.items() if kind == "affiliation"))
        )

    def leaves(self, character_id: int) -> None:
        self.handle.call(lambda sim: setattr(sim.universe.characters[character_id], "corporation_id", OTHERS))
        self.handle.call(lambda sim: sim.drop_caches())

    def a_day_passes(self) -> None:
        self.change("UPDATE affiliation SET checked_at = %s, asked_at = NULL WHERE character_id > 0", LONG_AGO)

    def status(self, character_id: int) -> tuple[Any, ...]:
        return self.sql('SELECT status, refresh_token IS NOT NULL FROM "user" WHERE character_id = %s', character_id)[0]

    def record(self) -> list[str]:
        return [event for (event,) in self.sql("SELECT event FROM access_log ORDER BY id")]


@pytest_asyncio.fixture
async def board(against: Any, simulated: Any) -> AsyncIterator[Board]:
    handle = simulated(kills=(3,), characters=40)
    admin = next(iter(reversed(handle.simulator.universe.characters)))
    settings = against(handle, LOGIN_ALLOWED=f"corporation:{OURS}", READERS="members", ADMIN_CHARACTER_IDS=str(admin))
    async with served(settings) as url:
        yield Board(url, handle)


async def test_only_the_corporations_pilots_may_log_in(board: Board) -> None:
    async with Player(board.url) as member, Player(board.url) as stranger:
        assert (await member.log_in(board.ours[0])).status == 302
        assert (await member.browser.get(f"{board.url}/me", headers=HTML)).status == 200
        answer = await stranger.log_in(board.others[0])
        text = await answer.text()
        assert answer.status == 403 and "may not log in here" in text and "Ask whoever runs this Killsync" in text
        assert "killsync_session" not in answer.cookies
        assert (await stranger.browser.get(f"{board.url}/")).status == 401
    assert board.sql('SELECT character_id FROM "user"') == [(board.ours[0],)]
    kept = board.handle.call(lambda sim: {grant.character_id for grant in sim.sso.refresh_tokens.values()})
    assert kept == {board.ours[0]}, "the stranger's access was given back"
    assert board.record() == ["login", "login_refused"]
    assert board.sql("SELECT address FROM access_log") == [(None,), (None,)]


async def test_a_stranger_who_tries_again_and_again_costs_esi_one_request(board: Board) -> None:
    async with Player(board.url) as stranger:
        for _ in range(5):
            assert (await stranger.log_in(board.others[0])).status == 403
    assert board.asked() == 1


async def test_admins_and_named_characters_and_alliances_may_log_in(board: Board) -> None:
    admin = next(iter(reversed(board.handle.simulator.universe.characters)))
    async with Player(board.url) as player:
        assert (await player.log_in(admin)).status == 302
        assert (await player.browser.get(f"{board.url}/ops")).status == 200
    assert board.asked() == 0, "who is named is not looked up"
    assert board.record() == ["login", "admin_view"]
    universe = board.handle.simulator.universe
    corporation, alliance = next((number, each[1]) for number, each in universe.corporations.items() if each[1])
    pilot = next((each for each in universe.characters.values() if each.corporation_id == corporation), None)
    change_settings(LOGIN_ALLOWED=f"character:{board.others[0]},alliance:{alliance}")
    assert admission.admit(board.others[0]) is admission.Admission.ALLOWED
    assert (
        admission.admit(board.others[1]) is admission.Admission.REFUSED or universe.corporations[OTHERS][1] == alliance
    )
    if pilot is not None:
        assert admission.admit(pilot.character_id) is admission.Admission.ALLOWED


async def test_an_outage_refuses_newcomers_for_now_and_lets_in_whom_one_knows(board: Board) -> None:
    async with Player(board.url) as member, Player(board.url) as newcomer:
        assert (await member.log_in(board.ours[0])).status == 302
        board.handle.simulator.faults.append(Fault("/characters/affiliation", "status", 503))
        board.a_day_passes()
        answer = await newcomer.log_in(board.ours[1])
        assert answer.status == 503 and "try again" in await answer.text()
        assert (await member.log_in(board.ours[0])).status == 302, "it was a member when ESI last answered"


async def test_who_left_keeps_a_page_that_says_so(board: Board) -> None:
    async with Player(board.url) as left, Player(board.url) as stays:
        await left.log_in(board.ours[0])
        await stays.log_in(board.ours[1])
        made = await left.browser.post(f"{board.url}/me/keys", data={"name": "program"})
        key = re.search(r"killsync_[0-9a-f]{12}_[\w-]{43}", await made.text())
        assert key is not None
        board.change(
            "INSERT INTO webhook (account_id, name, kind, url, url_hint) SELECT account_id, 'hook', 'discord', 'x', 'x' "
            'FROM "user" WHERE character_id = %s', board.ours[0],
        )  # fmt: skip
        killmails = board.sql("SELECT count(*) FROM killmail")
        board.leaves(board.ours[0])
        assert not admission.is_wanted(), "nobody is asked about twice a day"
        board.a_day_passes()
        assert admission.is_wanted()
        asked = board.asked()
        admission.check_members()
        assert board.asked() == asked + 1, "both in one request"
        assert board.status(board.ours[0]) == ("disabled", False) and board.status(board.ours[1]) == ("active", True)
        assert board.sql("SELECT count(*) FROM killmail") == killmails
        assert board.sql("SELECT status FROM webhook") == [("disabled",)]
        for path in ("/", "/me", "/killmails/7"):
            answer = await left.browser.get(board.url + path, headers=HTML)
            assert answer.status == 403 and "no longer a member" in await answer.text(), path
        headers = {"Authorization": f"Bearer {key[0]}"}
        async with left.browser.get(f"{board.url}/killmails/rows", headers=headers) as answer:
            assert answer.status == 403
        assert (await stays.browser.get(f"{board.url}/", headers=HTML)).status == 200
        assert board.record()[-1] == "member_left"
        assert not admission.is_wanted()


@pytest.mark.parametrize("trouble", ["outage", "missing", "refused"])
async def test_an_answer_that_says_nothing_of_somebody_throws_nobody_out(board: Board, trouble: str) -> None:
    async with Player(board.url) as member:
        await member.log_in(board.ours[0])
        board.leaves(board.ours[0])
        board.a_day_passes()
        simulator = board.handle.simulator
        if trouble == "outage":
            simulator.faults.append(Fault("/characters/affiliation", "status", 503))
        elif trouble == "missing":
            board.handle.call(lambda sim: sim.universe.characters.pop(board.ours[0]))
        else:
            simulator.faults.append(Fault("/characters/affiliation", "status", 400))
        admission.check_members()
        assert board.status(board.ours[0]) == ("active", True)
        assert (await member.browser.get(f"{board.url}/")).status == 200
        asked = board.asked()
        admission.check_members()
        assert board.asked() == asked, "ESI is left alone for a while"


async def test_a_setting_that_names_no_corporation_throws_nobody_out_and_says_so(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Player(board.url) as member:
        await member.log_in(board.ours[0])
        settings = change_settings(LOGIN_ALLOWED="corporation:98765432")
        assert "98765432" in str(admission.unusable(settings))
        board.a_day_passes()
        admission.check_members()
        assert board.status(board.ours[0]) == ("active", True)


async def test_who_logged_in_before_there_was_a_rule_is_asked_about_at_once(board: Board) -> None:
    change_settings(LOGIN_ALLOWED="")
    async with Player(board.url) as stranger:
        change_settings(LOGIN_ALLOWED="")
        assert (await stranger.log_in(board.others[0])).status == 302
        change_settings(LOGIN_ALLOWED=f"corporation:{OURS}")
        assert admission.is_wanted()
        admission.check_members()
        assert board.status(board.others[0]) == ("disabled", False)
        assert (await stranger.browser.get(f"{board.url}/")).status == 403


def test_of_two_workers_one_asks(settings: Any) -> None:
    change_settings(LOGIN_ALLOWED=f"corporation:{OURS}")
    with connection():
        for number in range(3):
            run(
                'INSERT INTO "user" (character_id, character_name) VALUES (%s, %s)', (90_000_001 + number, f"P{number}")
            )
        assert len(store.claim_due(1_000)) == 3
        assert store.claim_due(1_000) == []


# The scope of corporations: whom it is offered, and what is said of who has not the role.


@pytest.mark.parametrize(
    ("corporation", "scopes", "refused", "said", "offered"),
    [
        (OURS, "", False, "Grant access", True),
        (1_000_169, "", False, "its corporation has no list", False),
        (OURS, " esi-killmails.read_corporation_killmails.v1", False, "not read yet", False),
        (OURS, " esi-killmails.read_corporation_killmails.v1", True, "not a Director", False),
        (OURS, "", True, "not a Director", False),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_corporation_access_is_offered_to_who_may_be_a_director_and_says_what_it_does(
    board: Board, corporation: int, scopes: str, refused: bool, said: str, offered: bool
) -> None:
    async with Player(board.url) as pilot:
        await pilot.log_in(board.ours[0])
        with connection():
            [(user_id,)] = rows('SELECT id FROM "user"')
            join(user_id, corporation, may_direct=bool(scopes))
            run('UPDATE "user" SET scopes = scopes || %s', (scopes,))
            run("UPDATE \"user\" SET logged_in_at = '2026-01-01 00:00:00.000000+00:00'")
            if refused:
                record_refusal(corporation, user_id)
        text = await (await pilot.browser.get(f"{board.url}/me", headers=HTML)).text()
        assert said in text
        assert ("scopes=corporation" in text) == offered == ("For Directors:" in text)
        assert not ("granted" in text and "Director" in text.partition("Recent syncs")[0].replace("For Directors", ""))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_each_page_with_a_login_says_what_it_means(against: Any, simulated: Any) -> None:
    async with served(against(simulated(kills=(1,)))) as url, Player(url) as visitor:
        for path in ("/", "/me", "/webhooks"):
            text = await (await visitor.browser.get(url + path, headers=HTML)).text()
            assert "fetches the killmails that EVE lists" in text and "can be read by everybody" in text, path
