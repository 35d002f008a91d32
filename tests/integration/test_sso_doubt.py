"""The SSO refuses good tokens now and then: one refusal is doubt, not proof, and many at once are its own trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from killsync.accounts import accounts
from killsync.accounts.accounts import NewLogin
from killsync.observability import diagnosis
from killsync.observability.overview import gather
from killsync.sso import health
from killsync.sso.errors import NeedsLogin, SsoAway, SsoDoubt
from killsync.sso.refresh import DOUBT_SECONDS, access_token
from killsync.sso.vault import Vault
from models import User, connection, utcnow
from simulator import Handle
from simulator.sso import Grant


class Place:
    """Users with tokens of the simulated SSO that have just run out."""

    def __init__(self, handle: Handle, settings: Any) -> None:
        self.handle, self.settings = handle, settings
        self.pilots = list(handle.simulator.universe.characters)

    def log_in(self, position: int) -> int:
        """A user whose access token has run out; the id."""
        pilot, refresh_token = self.pilots[position], f"refresh-{position}-{utcnow().timestamp()}"
        scopes = ("esi-killmails.read_killmails.v1",)
        grant = Grant("simulator-client", pilot, scopes, "", "")
        self.handle.call(lambda sim: sim.sso.refresh_tokens.update({refresh_token: grant}))
        vault, character = Vault(self.settings.secret_keys), self.handle.simulator.universe.characters[pilot]
        login = NewLogin(pilot, character.name, character.owner, scopes[0], vault.encrypt("old"),
                         vault.encrypt(refresh_token), utcnow() - timedelta(hours=1))  # fmt: skip
        return accounts.log_in(login, None)[0]

    def refuse(self, count: int | None = None) -> None:
        """The token endpoint answers 400 invalid_grant to everybody."""
        self.handle.call(lambda sim: setattr(sim.sso, "refuses", -1 if count is None else count))

    @property
    def refreshes(self) -> int:
        return int(self.handle.call(lambda sim: sim.sso.refreshes))

    def later(self, seconds: float) -> None:
        """Let so much time pass for doubts and for the SSO's trouble."""
        for user in User.select().where(User.doubted_until.is_null(False)):
            User.update(doubted_until=user.doubted_until - timedelta(seconds=seconds)).where(
                User.id == user.id
            ).execute()
        from killsync import service_health

        def earlier(state: health.SsoState, _now: float) -> None:
            state.probe_at -= seconds
            state.refused = {each: at - seconds for each, at in state.refused.items()}

        service_health.change("sso", health.SsoState, earlier)


@pytest.fixture
def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> Iterator[Place]:
    handle = simulated(kills=(3,), characters=30)
    made = Place(handle, against(handle))
    with connection():
        yield made


def test_one_refusal_is_doubt_and_a_good_token_goes_on_by_itself(place: Place) -> None:
    user_id = place.log_in(0)
    place.refuse(1)
    with pytest.raises(SsoDoubt) as raised:
        access_token(user_id)
    assert raised.value.retry_after == 900 and "400: invalid_grant" in str(raised.value)
    assert "asked again in 15 minutes" in str(raised.value)
    spent = place.refreshes
    for _ in range(5):
        with pytest.raises(SsoDoubt):
            access_token(user_id)
    assert place.refreshes == spent, "meanwhile nothing is asked, whoever wishes it"
    user = User.get_by_id(user_id)
    assert (user.status, user.refusals, bool(user.refresh_token)) == ("active", 1, True)
    place.later(900)
    assert access_token(user_id)
    user = User.get_by_id(user_id)
    assert (user.status, user.refusals, user.doubted_until) == ("active", 0, None)


def test_a_revoked_token_costs_five_refreshes_and_then_a_login_is_needed(place: Place) -> None:
    user_id = place.log_in(0)
    place.handle.call(lambda sim: sim.sso.refresh_tokens.clear())
    for seconds in DOUBT_SECONDS:
        with pytest.raises(SsoDoubt) as raised:
            access_token(user_id)
        assert raised.value.retry_after == seconds
        place.later(seconds + 1)
    with pytest.raises(NeedsLogin, match="invalid_grant: Invalid refresh token"):
        access_token(user_id)
    user = User.get_by_id(user_id)
    assert (user.status, user.access_token, user.refresh_token, user.next_sync_at) == ("needs_login", None, None, None)
    with pytest.raises(NeedsLogin):
        access_token(user_id)
    assert place.refreshes == 5


def test_a_login_ends_the_doubt(place: Place) -> None:
    user_id = place.log_in(0)
    place.refuse(1)
    with pytest.raises(SsoDoubt):
        access_token(user_id)
    assert place.log_in(0) == user_id
    assert access_token(user_id)


def test_when_many_are_refused_refreshes_pause_for_all_but_a_probe(place: Place) -> None:
    users = [place.log_in(position) for position in range(20)]
    place.refuse()
    outcomes = []
    for user_id in users:
        with pytest.raises((SsoDoubt, SsoAway)) as raised:
            access_token(user_id)
        outcomes.append(raised.type)
    assert outcomes == [SsoDoubt] * 5 + [SsoAway] * 15 and place.refreshes == 5
    assert raised.value.retry_after <= 61
    (problem,) = [each for each in diagnosis.problems(gather()) if "login" in each.text]
    assert (problem.name, "refused everybody" in problem.text) == ("SSO refuses", True)
    place.later(61)
    for user_id in users[5:]:
        with pytest.raises((SsoDoubt, SsoAway)):
            access_token(user_id)
    assert place.refreshes == 6, "one probe"
    place.refuse(0)
    place.later(301)
    for user_id in users[6:]:
        assert access_token(user_id)
    assert gather().sso.trouble_seconds is None
    for user_id in users[:6]:
        assert access_token(user_id), "who was refused while it lasted is asked for at once, and nobody has to log in"
    assert {user.status for user in User.select()} == {"active"}


def test_a_few_refusals_among_many_who_are_served_are_theirs_alone(place: Place) -> None:
    users = [place.log_in(position) for position in range(20)]
    gone = users[::2]
    for user_id in users:
        if user_id in gone:
            place.refuse(1)
            with pytest.raises(SsoDoubt):
                access_token(user_id)
        else:
            assert access_token(user_id)
    assert gather().sso.trouble_seconds is None and gather().sso.doubted == len(gone)


def test_a_refusal_of_our_application_is_nobodys_doubt_and_says_why(place: Place) -> None:
    user_id = place.log_in(0)
    place.handle.call(lambda sim: sim.config.clients.clear())
    with pytest.raises(SsoAway, match=r"401: invalid_client: client authentication failed.*check SSO_CLIENT_ID"):
        access_token(user_id)
    assert User.get_by_id(user_id).refusals == 0
