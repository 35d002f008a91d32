"""Names for ids, in bulk, after the killmails: up to 1,000 ids a request, collected for a moment first.

One id that ESI does not know fails the whole request, and in bad times it refuses a whole kind. So what is refused is asked
for by kind, then in halves, then by itself on the route of one character, with few refused requests a minute; each name
that comes is stored at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from killsync import settings as settings_module
from killsync.esi import errors
from killsync.esi.client import EsiClient, shared
from killsync.logging import get_logger
from killsync.names import batching, trouble, wanted
from killsync.names.batching import MOST
from killsync.names.wanted import Claimed
from models.names import Alliance, Character, Corporation

log = get_logger("enrichment")

#: Names that one message asks for one by one, while ESI refuses their kind in bulk.
MOST_SINGLES = 40
#: Names of a kind of which none is known that are asked for by themselves, to find one that has to be named in bulk too.
MOST_PROOFS = 4
#: What the minute's refusals leave no room for is asked for again after this long, seconds.
NO_ROOM_SECONDS = 20.0
#: An answer that makes no sense is asked for again after this long, seconds.
SENSELESS_SECONDS = 3600.0

#: How one thing of a kind is named by its own route.
_SINGLE: dict[Any, Callable[[EsiClient, int], str]] = {
    Character: lambda client, number: client.character(number).name,
    Corporation: lambda client, number: client.corporation(number).name,
    Alliance: lambda client, number: client.alliance(number).name,
}
_REFUSED = (errors.NotFound, errors.BadRequest, errors.Forbidden)


def look_up(*, only_full: bool = False) -> None:
    """Ask for the names that are wanted, and for old ones while there is room; what fails is due again by itself.

    Args:
        only_full: ask for nothing while history comes whose names would fill the request.
    """
    if not only_full or batching.is_worth_it() or trouble.is_probe_due():
        _Lookup(shared(settings_module.current())).run()


class _Stop(Exception):
    """Nothing more is asked for now."""


class _Lookup:
    """One message's work."""

    def __init__(self, client: EsiClient) -> None:
        self._client = client
        #: Kinds that were found well in this message, though something of them was refused.
        self._well: set[Any] = set()
        #: What was asked for by its own route, and whether ESI knew it.
        self._asked: dict[int, bool] = {}

    def run(self) -> None:
        """Find out whether what was refused is named again; then everything in bulk that may be, and the rest one by one."""
        for name in sorted(trouble.take_probe()):
            self._probe(wanted.model_of(name))
        while True:
            refused = trouble.kinds()
            claimed = wanted.claim_unnamed(MOST, without=refused) or wanted.claim_stale(MOST, without=refused)
            if not claimed:
                break
            try:
                self._all(claimed)
            except _Stop:
                return
            is_full = sum(map(len, claimed.values())) >= MOST
            if (not is_full and not wanted.is_wanted(without=trouble.kinds())) or not batching.is_worth_it():
                break
        for name in sorted(trouble.kinds()):
            if not self._one_by_one(wanted.model_of(name)):
                return

    def _all(self, claimed: Claimed) -> None:
        """Ask for everything in one request, and in parts where ESI refuses that.

        Raises:
            _Stop: ESI cannot be asked now; what was not asked for is due again by itself.
        """
        parts = [claimed]
        while parts:
            part = parts.pop()
            if (reserved := trouble.reserve_error()) is None:
                wanted.release(part, NO_ROOM_SECONDS)
                continue
            try:
                self._in_bulk(part)
            except _REFUSED as error:
                parts += self._parts_of(part, parts, str(error))
            except errors.EsiError as error:
                self._give_up([part, *parts], error)
            else:
                trouble.give_back(reserved)

    def _in_bulk(self, part: Claimed) -> None:
        ids = sorted(number for numbers in part.values() for number in numbers)
        answer = self._client.names(ids)
        wanted.store_names({number: name for number, (_, name) in answer.names.items()})
        for model, numbers in part.items():
            wanted.refuse(model, [number for number in numbers if number not in answer.names])
        log.info("names stored", names=len(answer.names), asked=len(ids))

    def _parts_of(self, part: Claimed, waiting: list[Claimed], reason: str) -> list[Claimed]:
        """As `_smaller`.

        Raises:
            _Stop: ESI cannot be asked now, or refused too much in this minute; nothing is left claimed.
        """
        try:
            return self._smaller(part, waiting, reason)
        except _Stop:
            for each in (part, *waiting):
                wanted.release(each, NO_ROOM_SECONDS)
            raise
        except errors.EsiError as error:
            self._give_up([part, *waiting], error)

    def _smaller(self, part: Claimed, waiting: list[Claimed], reason: str) -> list[Claimed]:
        """What to ask for instead of a part that was refused; what is asked for last comes first."""
        if len(part) > 1:
            # Characters by themselves: it was always they who were refused. Then kind by kind.
            people = {model: ids for model, ids in part.items() if model is Character}
            rest = {model: ids for model, ids in part.items() if model is not Character}
            return [people, rest] if people else [{model: ids} for model, ids in part.items()]
        ((model, ids),) = part.items()
        if not self._is_well(model, ids):
            trouble.begin([wanted.name_of(model)])
            log.warning("names released", kind=wanted.name_of(model), ids=len(ids), reason=reason)
            wanted.release(part, 0.0)
            for other in waiting:
                if model in other:
                    wanted.release({model: other.pop(model)}, 0.0)
            waiting[:] = [other for other in waiting if other]
            return []
        ids = [number for number in ids if number not in self._asked]
        if len(ids) == 1:
            self._single(model, ids[0])
        if len(ids) <= 1:
            return []
        middle = len(ids) // 2
        return [{model: ids[middle:]}, {model: ids[:middle]}]

    def _is_well(self, model: Any, ids: list[int]) -> bool:
        """Whether ESI names others of a kind in bulk, now that it has refused some of it. Asked once in a message."""
        if model in self._well:
            return True
        proof = wanted.known_id(model, ids)
        if proof is None and model in _SINGLE:
            # None is known yet. One that its own route names has to be named in bulk too.
            some = ids[:: max(1, len(ids) // MOST_PROOFS)][:MOST_PROOFS]
            proof = next((number for number in some if self._single(model, number)), None)
        if proof is not None and not self._is_named_in_bulk(proof):
            return False
        self._well.add(model)
        return True

    def _is_named_in_bulk(self, number: int) -> bool:
        if (reserved := trouble.reserve_error()) is None:
            return True
        try:
            self._client.names([number])
        except errors.EsiError as error:
            # Whoever cannot be asked at all tells nothing of the kind.
            return error.transient and not (isinstance(error, errors.Downtime) and error.alone)
        trouble.give_back(reserved)
        return True

    def _probe(self, model: Any) -> None:
        """Ask for something in bulk that ESI is known to know. Once it is named, everything of the kind may be."""
        number = wanted.known_id(model, []) or wanted.any_id(model)
        if number is None:
            # Since a build of the static data was loaded, nothing of this kind is ESI's to name.
            trouble.end(wanted.name_of(model))
            return
        if (reserved := trouble.reserve_error()) is None:
            return
        try:
            self._client.names([number])
        except errors.EsiError:
            return
        trouble.give_back(reserved)
        wanted.ask_again(model)
        trouble.end(wanted.name_of(model))

    def _one_by_one(self, model: Any) -> bool:
        """Ask for names of a kind that is refused in bulk by their own route, the most wanted first; whether to go on."""
        if model not in _SINGLE:
            return True
        ids = wanted.claim_most_wanted(model, MOST_SINGLES)
        for position, number in enumerate(ids):
            try:
                named = self._single(model, number)
            except _Stop:
                wanted.release({model: ids[position:]}, NO_ROOM_SECONDS)
                return False
            except errors.EsiError as error:
                wanted.release({model: ids[position:]}, error.retry_after or NO_ROOM_SECONDS)
                return False
            log.debug("name asked for by itself", kind=wanted.name_of(model), id=number, named=named)
        if len(ids) == MOST_SINGLES:
            batching.schedule_lookup()
        return True

    def _single(self, model: Any, number: int) -> bool:
        """Ask for one by its own route, and store what came; whether ESI knows it.

        Raises:
            _Stop: too much was refused in this minute.
            EsiError: ESI cannot be asked now.
        """
        if model not in _SINGLE:
            wanted.refuse(model, [number])
            return False
        if number in self._asked:
            return self._asked[number]
        if (reserved := trouble.reserve_error()) is None:
            raise _Stop
        try:
            name = _SINGLE[model](self._client, number).replace("\x00", "")
        except _REFUSED:
            wanted.refuse(model, [number])
            self._asked[number] = False
            return False
        except errors.Malformed:
            wanted.release({model: [number]}, SENSELESS_SECONDS)
            return False
        trouble.give_back(reserved)
        wanted.store_names({number: name})
        self._asked[number] = True
        return True

    def _give_up(self, parts: list[Claimed], error: errors.EsiError) -> NoReturn:
        """ESI cannot be asked now, or answers nonsense.

        Raises:
            _Stop: always.
        """
        if isinstance(error, errors.Downtime) and error.alone:
            # Everything else is answered: it is this route that is in trouble.
            trouble.begin({wanted.name_of(model) for part in parts for model in part if model in _SINGLE})
        for part in parts:
            wanted.release(part, (error.retry_after or 15.0) if error.transient else SENSELESS_SECONDS)
        log.warning("names released", ids=sum(len(ids) for part in parts for ids in part.values()), reason=str(error))
        raise _Stop
