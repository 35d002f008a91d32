"""The ESI client against a strict ESI that misbehaves: each fault ends in its own exception, and the worker lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from killsync.esi import errors
from killsync.esi.client import EsiClient
from models import connection
from models.sql import rows
from simulator import Handle
from simulator.faults import Fault
from tests.support.esi_application import token_of

Against = Callable[..., Any]


def a_kill(handle: Handle) -> Any:
    return next(iter(handle.simulator.universe.kills.values()))


@pytest.fixture
def client(against: Against, simulated: Callable[..., Handle]) -> tuple[EsiClient, Handle]:
    handle = simulated(kills=(60, 20, 5))
    return EsiClient(against(handle), aiohttp.ClientTimeout(total=3, connect=2, sock_read=1)), handle


FAULTS: list[tuple[dict[str, Any], type[errors.EsiError], bool]] = [
    ({"kind": "html", "status": 502}, errors.Downtime, True),
    ({"kind": "html", "status": 520}, errors.Downtime, True),
    ({"kind": "status", "status": 503}, errors.Downtime, True),
    ({"kind": "status", "status": 504}, errors.Downtime, True),
    ({"kind": "cut"}, errors.Downtime, True),
    ({"kind": "reset"}, errors.Downtime, True),
    ({"kind": "drip", "seconds": 0.5}, errors.Downtime, True),
    ({"kind": "latency", "seconds": 5.0}, errors.Downtime, True),
    ({"kind": "big"}, errors.Malformed, False),
    ({"kind": "error object"}, errors.Malformed, False),
    ({"kind": "content type"}, errors.Malformed, False),
    ({"kind": "wrong types"}, errors.Malformed, False),
    ({"kind": "string ids"}, errors.Malformed, False),
    ({"kind": "redirect"}, errors.Malformed, False),
    ({"kind": "status", "status": 400}, errors.BadRequest, False),
    ({"kind": "status", "status": 404}, errors.NotFound, False),
]


@pytest.mark.parametrize(("fault", "expected", "transient"), FAULTS, ids=lambda value: str(value)[:40])
def test_each_fault_of_a_detail_is_its_own_exception(
    client: tuple[EsiClient, Handle], fault: dict[str, Any], expected: type[errors.EsiError], transient: bool
) -> None:
    esi, handle = client
    kill = a_kill(handle)
    handle.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", **fault, count=1)))
    with pytest.raises(expected) as raised:
        esi.killmail(kill.killmail_id, kill.killmail_hash)
    assert raised.value.transient is transient
    assert str(kill.killmail_id) in str(raised.value), "the error names the route and its ids"
    body, _ = esi.killmail(kill.killmail_id, kill.killmail_hash)
    assert body["killmail_id"] == kill.killmail_id, "the next call is answered"


def test_a_request_whose_connection_breaks_is_not_sent_again_behind_the_budgets_back(
    client: tuple[EsiClient, Handle],
) -> None:
    esi, handle = client
    kill = a_kill(handle)
    esi.killmail(kill.killmail_id, kill.killmail_hash)
    handle.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", "reset", count=5)))
    with pytest.raises(errors.Downtime):
        esi.killmail(kill.killmail_id, kill.killmail_hash)
    assert handle.simulator.faults[-1].count == 4, "one call is one request, on a connection that was used before too"


def test_a_host_that_does_not_exist_is_downtime_and_not_a_crash(
    against: Against, simulated: Callable[..., Handle]
) -> None:
    handle = simulated(kills=(3,))
    esi = EsiClient(against(handle, ESI_URL="http://esi.invalid"), aiohttp.ClientTimeout(total=5))
    with pytest.raises(errors.Downtime) as raised:
        esi.killmail(1, "0" * 40)
    assert raised.value.transient


def test_a_refusal_says_why_in_esis_words(client: tuple[EsiClient, Handle], monkeypatch: pytest.MonkeyPatch) -> None:
    esi, handle = client
    kill = a_kill(handle)
    monkeypatch.setattr(type(esi._settings), "user_agent", property(lambda _settings: "nobody"))
    with pytest.raises(errors.BadRequest) as raised:
        esi.killmail(kill.killmail_id, kill.killmail_hash)
    assert "ESI answered 400: User-Agent is missing or names no contact" in str(raised.value)
    assert (raised.value.status, raised.value.said) == (400, "User-Agent is missing or names no contact")
    handle.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", "status", status=503, count=1)))
    with pytest.raises(errors.Downtime, match="503: forced by a fault"):
        esi.killmail(kill.killmail_id, kill.killmail_hash)


@pytest.mark.parametrize(
    "kind", [{"kind": "status", "status": 500}, {"kind": "status", "status": 504}, {"kind": "cut"}], ids=str
)
def test_a_killmail_that_fails_for_ever_is_told_apart_and_stops_nobody(
    client: tuple[EsiClient, Handle], kind: dict[str, Any]
) -> None:
    esi, handle = client
    bad, *good = list(handle.simulator.universe.kills.values())[:20]
    handle.call(lambda simulator: simulator.faults.append(Fault(f"/killmails/{bad.killmail_id}/*", **kind)))
    for number, kill in enumerate(good):
        with pytest.raises(errors.Downtime) as raised:
            esi.killmail(bad.killmail_id, bad.killmail_hash)
        assert raised.value.alone is (number > 0)
        assert esi.killmail(kill.killmail_id, kill.killmail_hash)[0]["killmail_id"] == kill.killmail_id
    assert raised.value.retry_after is not None and raised.value.retry_after > 3600, "it waits for hours, alone"


def test_a_wrong_hash_is_named_so_and_costs_five_tokens(client: tuple[EsiClient, Handle]) -> None:
    esi, handle = client
    with pytest.raises(errors.InvalidHash) as raised:
        esi.killmail(a_kill(handle).killmail_id, "0" * 40)
    assert raised.value.cost is not None and raised.value.cost.tokens == 5
    assert handle.call(lambda simulator: simulator.esi.tokens["killmail"]) == 5


async def test_a_rejected_token_a_missing_scope_and_no_director_are_told_apart(
    client: tuple[EsiClient, Handle],
) -> None:
    esi, handle = client
    one, two = handle.simulator.universe.demo_characters[:2]
    token = await token_of(handle, one.character_id)
    with pytest.raises(errors.TokenRejected) as rejected:
        esi.killmail_list("character", one.character_id, "not-a-token-at-all", 1, payer=one.character_id)
    assert "not-a-token-at-all" not in str(rejected.value)
    with pytest.raises(errors.Forbidden) as refused:
        esi.killmail_list("character", two.character_id, token, 1, payer=two.character_id)
    assert token not in str(refused.value)
    listed = esi.killmail_list("character", one.character_id, token, 1, payer=one.character_id)
    assert (len(listed.refs), listed.pages, listed.cost.tokens) == (50, 2, 2)
    again = esi.killmail_list("character", one.character_id, token, 1, payer=one.character_id, etag=listed.etag)
    assert (again.not_modified, again.cost.tokens) == (True, 1)
    beyond = esi.killmail_list("character", one.character_id, token, 3, payer=one.character_id)
    assert beyond.past_end and beyond.refs == []


def test_after_a_429_nothing_leaves_before_its_seconds_have_passed(client: tuple[EsiClient, Handle]) -> None:
    esi, handle = client
    kill = a_kill(handle)
    handle.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", "no headers 429", count=1)))
    before = time.monotonic()
    with pytest.raises(errors.RateLimited) as raised:
        esi.killmail(kill.killmail_id, kill.killmail_hash)
    assert raised.value.retry_after == 3
    other = EsiClient(esi._settings)  # another process knows no more than the database
    asked = handle.call(lambda simulator: sum(simulator.esi.answers.values()))
    while time.monotonic() < before + 2.5:
        with pytest.raises(errors.NoToken):
            other.killmail(kill.killmail_id, kill.killmail_hash)
        time.sleep(0.25)
    assert handle.call(lambda simulator: sum(simulator.esi.answers.values())) == asked
    time.sleep(max(0.0, before + 4.5 - time.monotonic()))
    assert other.killmail(kill.killmail_id, kill.killmail_hash)[0]["killmail_id"] == kill.killmail_id


def test_a_420_stops_every_route(client: tuple[EsiClient, Handle]) -> None:
    esi, handle = client
    kill = a_kill(handle)
    handle.call(lambda simulator: simulator.faults.append(Fault("/universe/names", "status", 420, count=1)))
    with pytest.raises(errors.ErrorLimited):
        esi.names([587])
    asked = handle.call(lambda simulator: sum(simulator.esi.answers.values()))
    for call in (lambda: esi.killmail(kill.killmail_id, kill.killmail_hash), lambda: esi.names([587]), esi.status):
        with pytest.raises(errors.NoToken):
            call()
    assert handle.call(lambda simulator: sum(simulator.esi.answers.values())) == asked


def test_the_error_limit_is_never_reached(client: tuple[EsiClient, Handle]) -> None:
    esi, handle = client
    refused = 0
    for number in range(200):
        try:
            esi.corporation(97_000_000 + number)
        except errors.NotFound:
            pass
        except errors.NoToken:
            refused += 1
    failed = handle.call(lambda simulator: max(window.errors for window in simulator.esi.limits.errors.values()))
    assert failed <= 91 and refused > 100, "it stops while ten are left"
    assert not handle.call(lambda simulator: [key for key in simulator.esi.answers if key[1] == 420])


def test_names_of_a_thousand_new_ids_cost_one_request_and_an_unknown_one_among_them_fails_it(
    client: tuple[EsiClient, Handle],
) -> None:
    esi, handle = client
    universe = handle.simulator.universe
    known = [*universe.characters, *universe.corporations, *universe.alliances, 587, 30000142]
    assert esi.names(known).cost.requests == 1
    assert set(esi.names(known).names) == set(known)
    with pytest.raises(errors.NotFound):
        esi.names([*known, 123_456_789_012])


def test_what_was_spent_is_recorded_by_route_and_outcome(client: tuple[EsiClient, Handle]) -> None:
    esi, handle = client
    kill = a_kill(handle)
    esi.killmail(kill.killmail_id, kill.killmail_hash)
    with pytest.raises(errors.InvalidHash):
        esi.killmail(kill.killmail_id, "0" * 40)
    esi.usage.flush()
    for _ in range(2):
        esi.killmail(kill.killmail_id, kill.killmail_hash)
        esi.names([587])
        esi.usage.flush()
    with connection():
        found = {(route, outcome): (requests, tokens) for route, outcome, requests, tokens in
                 rows("SELECT route, outcome, requests, tokens FROM esi_usage")}  # fmt: skip
    assert found == {("killmail", "2xx"): (3, 6), ("killmail", "4xx"): (1, 5), ("names", "2xx"): (2, 0)}


def test_headers_teach_another_limit(client: tuple[EsiClient, Handle], monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator import buckets

    esi, handle = client
    monkeypatch.setitem(buckets.LIMITS, "killmail", 12)
    kill = a_kill(handle)
    outcomes = []
    for _ in range(9):
        try:
            esi.killmail(kill.killmail_id, kill.killmail_hash)
            outcomes.append("answered")
        except errors.NoToken:
            outcomes.append("waits")
    assert outcomes == ["answered"] * 6 + ["waits"] * 3, "the smaller limit of the headers holds, and no 429 came"
