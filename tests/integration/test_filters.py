"""Every clause of a filter, alone and in pairs: the database, the predicate in memory and plain Python over ESI's bodies agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killsync.killmails import filter_forms, queries
from killsync.killmails.classification import SecurityBand, classify, value_bits
from killsync.killmails.cursors import cursor_of
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import (
    CLAUSES,
    from_address,
    from_graphql,
    from_json,
    to_address,
    to_graphql,
    to_json,
)
from killsync.killmails.killmail import Killmail
from killsync.killmails.labels import labels_of
from killsync.killmails.mapping import parse_time
from killsync.prices import store
from killsync.prices.valuation import to_micros, value_of
from killsync.static_data import geography
from models import connection, utcnow
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE
from simulator.prices import prices
from tests.support import static_data
from tests.support.web_server import fill, new_universe

Body = Mapping[str, Any]
#: (what the filter is given in GraphQL, whether a body fits).
Case = tuple[dict[str, Any], Callable[[Body], bool]]


class World:
    """What is stored, and plain Python's own answers about it."""

    def __init__(self) -> None:
        self.known = static_data.load()
        universe = new_universe(kills=(90, 60, 30))
        self.prices = {
            each["type_id"]: to_micros(each.get("average_price") or each["adjusted_price"]) for each in prices(0.0)
        }
        with connection():
            store.enter(utcnow().date(), {type_id: (price, None) for type_id, price in self.prices.items()})
        fill(universe)
        self.bodies: list[Body] = [universe.body(number) for number in universe.kills]
        self.bodies.sort(key=lambda body: (parse_time(body["killmail_time"]), body["killmail_id"]), reverse=True)
        with connection():
            ids = [body["killmail_id"] for body in self.bodies]
            self.stored = {each.killmail_id: each for each in queries.killmails(ids, items=False)}
            self.map = geography.load()

        #: The side of the filter that is asked about, which all its parties share.
        self.side: str | None = None

    def kind(self, body: Body) -> Any:
        return classify(body, parse_time(body["killmail_time"]), self.known)

    def age(self, body: Body) -> int:
        stored = self.stored[body["killmail_id"]].created_at.replace(microsecond=0)
        return int((stored - parse_time(body["killmail_time"])).total_seconds())

    def value(self, body: Body) -> Decimal:
        """The total value, ISK."""
        return Decimal(value_of(body, self.prices.get, self.known).total) / 100

    def labels(self, body: Body) -> set[str]:
        return {*self.kind(body).labels, *labels_of(value_bits(int(self.value(body) * 100)), None)}

    def group(self, type_id: int | None) -> int | None:
        facts = self.known.type(type_id)
        return facts.group_id if facts else None

    def category(self, type_id: int | None) -> int | None:
        facts = self.known.type(type_id)
        return facts.category_id if facts else None


def parties(body: Body, side: str | None) -> list[Any]:
    return [*([body["victim"]] if side != "ATTACKER" else []), *(body["attackers"] if side != "VICTIM" else [])]


def cases(world: World) -> dict[str, list[Case]]:
    """For each clause some values: of a killmail that is there, of a common one, of none."""
    some = world.bodies[5], world.bodies[len(world.bodies) // 2]
    found: dict[str, list[Case]] = {}

    def add(name: str, given: Any, fits: Callable[[Body], bool], **more: Any) -> None:
        found.setdefault(name, []).append(({name: given, **more}, fits))

    for name, field in (("characterId", "character_id"), ("corporationId", "corporation_id"),
                        ("allianceId", "alliance_id"), ("shipTypeId", "ship_type_id")):  # fmt: skip
        ids = [each[field] for body in some for each in parties(body, None) if each.get(field)][:2]
        for entity, side in itertools.product([*ids, 7], (None, "VICTIM", "ATTACKER")):

            def has(body: Body, field: str = field, entity: int = entity) -> bool:
                return any(each.get(field) == entity for each in parties(body, world.side))

            add(name, str(entity), has, **({"side": side} if side else {}))
    groups = sorted(
        {world.group(each.get("ship_type_id")) for body in world.bodies for each in parties(body, None)} - {None}
    )
    for group in groups[:2]:
        add("shipGroupId", str(group), lambda body, group=group: any(
            world.group(each.get("ship_type_id")) == group for each in parties(body, world.side)))  # fmt: skip
    for body in some:
        kind, system = world.kind(body), body["solar_system_id"]
        add("systemId", str(system), lambda each, system=system: each["solar_system_id"] == system)
        add("regionId", str(kind.region_id), lambda each, kind=kind: world.kind(each).region_id == kind.region_id)
        add("constellationId", str(kind.constellation_id),
            lambda each, kind=kind: world.kind(each).constellation_id == kind.constellation_id)  # fmt: skip
        add("nearSystemId", str(system), lambda each, system=system: (
            (jumps := world.map.jumps(system, each["solar_system_id"])) is not None and jumps <= 4), maxJumps=4)  # fmt: skip
        add("nearSystemId", str(system), lambda each, system=system: (
            (far := world.map.light_years(system, each["solar_system_id"])) is not None and far <= 2.5), maxLightYears=2.5)  # fmt: skip
        for name, value in (("system", system), ("region", kind.region_id), ("constellation", kind.constellation_id)):

            def is_there(each: Body, name: str = name, value: int = value) -> bool:
                found = world.kind(each)
                return value == {"system": each["solar_system_id"], "region": found.region_id,
                                 "constellation": found.constellation_id}[name]  # fmt: skip

            add(f"{name}Ids", [str(value), "7"], is_there)
            add(f"exclude{name.title()}Ids", [str(value), "7"], lambda each, is_there=is_there: not is_there(each))
        for step in (-1, 0, 1):
            moment = parse_time(body["killmail_time"]) + timedelta(seconds=step)
            add("startDate", moment, lambda each, moment=moment: parse_time(each["killmail_time"]) >= moment)
            add("endDate", moment, lambda each, moment=moment: parse_time(each["killmail_time"]) <= moment)
    for wanted in itertools.chain.from_iterable(itertools.combinations(SecurityBand, size) for size in (1, 2)):
        add("security", [each.name for each in wanted], lambda body, wanted=wanted: world.kind(body).security in wanted)
        add("excludeSecurity", [each.name for each in wanted],
            lambda body, wanted=wanted: world.kind(body).security not in wanted)  # fmt: skip
    for number in (0, 1, 2, 5, 50):
        add("minAttackers", number, lambda body, number=number: len(body["attackers"]) >= number)
        add("maxAttackers", number, lambda body, number=number: len(body["attackers"]) <= number)
    for yes in (True, False):
        add("war", yes, lambda body, yes=yes: (body.get("war_id") is not None) is yes)
    for number in (0, 60, 3_600, 86_400, 10_000_000):
        add("maxAgeSeconds", number, lambda body, number=number: world.age(body) <= number)
    add_parties(world, add)
    for number in (0, float(world.value(some[0])), float(world.value(some[1])), 1e9):
        add("minValue", number, lambda body, number=number: world.value(body) >= Decimal(str(number)))
        add("maxValue", number, lambda body, number=number: world.value(body) <= Decimal(str(number)))
    for name, yes in itertools.product(("npc", "solo", "awox"), (True, False)):
        add(name, yes, lambda body, name=name, yes=yes: getattr(world.kind(body), name) is yes)
    labels = sorted({label for body in world.bodies for label in world.labels(body)})
    for wanted in (*([label] for label in labels), labels[:2], ["isk:1t+"], ["cat:6", "pvp"]):
        add("labels", wanted, lambda body, wanted=wanted: set(wanted) <= world.labels(body))
        add("excludeLabels", wanted, lambda body, wanted=wanted: not set(wanted) & world.labels(body))
    return found


def add_parties(world: World, add: Callable[..., None]) -> None:
    """Each kind of party on each side, wanted and left out."""
    kinds: dict[str, Callable[[Any], int | None]] = {
        "Character": lambda each: each.get("character_id"),
        "Corporation": lambda each: each.get("corporation_id"),
        "Alliance": lambda each: each.get("alliance_id"),
        "Faction": lambda each: each.get("faction_id"),
        "ShipType": lambda each: each.get("ship_type_id"),
        "ShipGroup": lambda each: world.group(each.get("ship_type_id")),
        "ShipCategory": lambda each: world.category(each.get("ship_type_id")),
        "WeaponType": lambda each: each.get("weapon_type_id"),
        "WeaponGroup": lambda each: world.group(each.get("weapon_type_id")),
    }
    for (name, of), side in itertools.product(kinds.items(), ("Victim", "Attacker")):
        if name.startswith("Weapon") and side == "Victim":
            continue
        sides = {body["killmail_id"]: {of(each) for each in parties(body, side.upper())} for body in world.bodies}
        ids = sorted({number for found in sides.values() for number in found if number is not None})
        assert ids, (name, side)
        for wanted in ([ids[0]], ids[1:4] or ids, [9_999_999], ids[:60]):

            def has(body: Body, sides: Any = sides, wanted: list[int] = wanted) -> bool:
                return bool(sides[body["killmail_id"]] & set(wanted))

            given = [str(each) for each in wanted]
            add(f"{side.lower()}{name}Ids", given, has)
            add(f"exclude{side}{name}Ids", given, lambda body, has=has: not has(body))
    organizations = {
        body["killmail_id"]: {
            each.get(field)
            for each in body["attackers"]
            if each["final_blow"]
            for field in ("corporation_id", "alliance_id", "faction_id")
        }
        for body in world.bodies
    }
    every = sorted({number for found in organizations.values() for number in found if number is not None})
    for wanted in (every[:1], every[-2:], [7]):
        add("finalBlowOrganizationIds", [str(each) for each in wanted],
            lambda body, wanted=wanted: bool(organizations[body["killmail_id"]] & set(wanted)))  # fmt: skip


def check(world: World, *chosen: Case) -> bool:
    """Whether anything fits; all three agree on what does, or the filter is refused."""
    given: dict[str, Any] = {}
    for part, _ in chosen:
        if any(given.get(name, value) != value for name, value in part.items()):
            return False
        given.update(part)
    try:
        made = from_graphql(given)
    except filter_forms.BadFilter:
        return False
    world.side = given.get("side")
    wanted = [body["killmail_id"] for body in world.bodies if all(fits(body) for _, fits in chosen)]
    assert [
        number for number in (body["killmail_id"] for body in world.bodies) if made.matches(world.stored[number])
    ] == wanted
    first = queries.page(made, 20, None, items=False)
    assert [each.killmail_id for each in first.killmails] == wanted[:20], given
    if first.has_next:
        second = queries.page(made, 20, cursor_of(first.killmails[-1]), items=False)
        assert [each.killmail_id for each in second.killmails] == wanted[20:40], given
    check_forms(made)
    return bool(wanted)


def check_forms(made: KillmailFilter) -> None:
    """What is written is read back."""
    assert from_address(dict(to_address(made))) == made
    assert from_graphql(to_graphql(made)) == made
    assert from_json(to_json(made)) == made


def test_every_clause_agrees_with_plain_python_alone_and_in_pairs(settings: Any) -> None:
    world = World()
    by_clause = cases(world)
    named = {clause.graphql for clause in CLAUSES} - {"side", "maxJumps", "maxLightYears"}
    assert set(by_clause) == named, "every clause has its cases"
    fitted = set()
    with connection():
        for name, alone in by_clause.items():
            for case in alone:
                if check(world, case):
                    fitted.add(name)
        assert fitted == named, "and each finds something"
        # Every third pair is enough of so many, on each database; which values meet changes with the pair.
        for place, (one, other) in enumerate(itertools.combinations(by_clause, 2)):
            if place % 3 == 0:
                mine, theirs = by_clause[one], by_clause[other]
                check(world, mine[place * 7 % len(mine)], theirs[place * 5 % len(theirs)])


def test_any_clauses_together_agree_with_plain_python(settings: Any) -> None:
    world = World()
    every = [case for alone in cases(world).values() for case in alone]

    @hypothesis_settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from(every), min_size=3, max_size=5))
    def together(chosen: list[Case]) -> None:
        check(world, *chosen)

    with connection():
        together()


def test_mine_is_one_row_of_a_page_however_many_of_ones_characters_took_part(settings: Any) -> None:
    world = World()
    with connection():
        for size, sides in itertools.product((0, 1, 2, 40), (VICTIM_SIDE, ATTACKER_SIDE, VICTIM_SIDE | ATTACKER_SIDE)):
            everyone = sorted(
                {
                    each["character_id"]
                    for body in world.bodies
                    for each in parties(body, None)
                    if each.get("character_id")
                }
            )
            mine = tuple(everyone[:size])
            side = {VICTIM_SIDE: "VICTIM", ATTACKER_SIDE: "ATTACKER"}.get(sides)
            wanted = [
                body["killmail_id"]
                for body in world.bodies
                if any(each.get("character_id") in mine for each in parties(body, side))
            ]
            made = KillmailFilter(mine=mine, sides=sides)
            assert [each.killmail_id for each in queries.page(made, 100, None).killmails] == wanted[:100]
            assert [number for number, each in world.stored.items() if made.matches(each)] == wanted


def test_a_predicate_needs_no_database(settings: Any) -> None:
    world = World()
    killmail: Killmail = next(iter(world.stored.values()))
    assert KillmailFilter(
        start=datetime(2000, 1, 1, tzinfo=UTC), npc=killmail.npc, labels=tuple(killmail.labels)
    ).matches(killmail)


@pytest.mark.parametrize(
    "query",
    [{"region": "x"}, {"security": "high,,low"}, {"security": "lowish"}, {"labels": "nonsense"}, {"attackers-from": "-1"},
     {"attackers-from": "5", "attackers-to": "4"}, {"npc": "yes"}, {"from": "tomorrow"}, {"from": "0001-01-01T00:00:00+23:59"},
     {"jumps": "3"}, {"near": "30000142"}, {"near": "30000142", "light-years": "nan"}, {"side": "both"},
     {"victim-group": ",".join(map(str, range(101)))}, {"region": "9223372036854775808"}, {"attackers-from": "٣"}],
    ids=str,
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused(settings: Any, query: dict[str, str]) -> None:
    with pytest.raises(filter_forms.BadFilter) as refused:
        from_address(query)
    assert refused.value.clause in query


def test_both_forms_say_the_same(settings: Any) -> None:
    made = from_address(
        {"region": "10000002", "security": "low,null", "npc": "0", "attackers-from": "5", "side": "losses", "x": "y"}
    )
    assert made == KillmailFilter(
        region_id=10000002,
        security=(SecurityBand.LOW, SecurityBand.NULL),
        npc=False,
        min_attackers=5,
        sides=VICTIM_SIDE,
    )
    assert to_graphql(made) == {
        "regionId": "10000002", "security": ["LOW", "NULL"], "npc": False, "minAttackers": 5, "side": "VICTIM",
    }  # fmt: skip
