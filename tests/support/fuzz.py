"""Throws generated documents, broken ones, broken requests and broken WebSocket messages at a running GraphQL endpoint.

`python -m tests.support.fuzz [SECONDS]` (or `make fuzz`) does it for ten minutes, says how many cases ran and writes it into docs/reliability.md. A case fails when the
server answers 500 or more, answers no JSON, calls its own fault ("INTERNAL_ERROR"), or dies.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis_graphql import Mode, from_schema, nodes
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import simulator
from tests.chaos.report import put
from tests.support.deployment import Deployment, deployed
from tests.support.player import Player
from tests.support.resources import PROJECT

SDL = (PROJECT / "graphql_api" / "schema.graphql").read_text()
MOMENTS = {"DateTime": st.one_of(st.datetimes().map(lambda moment: nodes.String(moment.isoformat())),
                                 st.text(max_size=30).map(nodes.String))}  # fmt: skip
#: Right ones, ones that break a rule of the schema, and right ones with a piece taken out, doubled or put in.
VALID = from_schema(SDL, custom_scalars=MOMENTS)
INVALID = from_schema(SDL, custom_scalars=MOMENTS, mode=Mode.NEGATIVE)
PIECES = st.sampled_from(
    ["{", "}", "(", ")", "[", "]", ":", "$", "!", "...", "@skip(if: true)", "@", '"', '"""', "\\u0000", "fragment F on Killmail { id }",
     "query Q($a: ID!) ", "subscription ", "0x1", "-0", "1e999", "9" * 60, "\ufeff", "\x00", "é", "#", "null", "__typename", "|", "&"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def broken(draw: Any) -> str:
    """A document near a right one."""
    text = str(draw(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at, to = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        text = draw(
            st.sampled_from([text[:at] + text[at + to :], text[:at] + draw(PIECES) + text[at:], text + text[at:]])
        )
    return text


ENVELOPES = st.fixed_dictionaries(
    {"query": st.one_of(VALID, INVALID, broken(), st.text(max_size=300))},
    optional={
        "variables": st.one_of(st.none(), st.dictionaries(st.text(max_size=8), ANYTHING, max_size=4), ANYTHING),
        "operationName": st.one_of(st.none(), st.text(max_size=20), ANYTHING),
        "extensions": ANYTHING,
    },
)
BODIES = st.one_of(
    st.binary(max_size=300),
    ANYTHING.map(lambda value: json.dumps(value).encode()),
    ENVELOPES.map(lambda value: json.dumps(value).encode()),
    st.integers(1, 60_000).map(lambda depth: json.dumps({"query": "{a" * depth}).encode()[:120_000]),
)
HEADERS = st.fixed_dictionaries(
    {
        "Content-Type": st.sampled_from(
            ["application/json"] * 6 + ["text/plain", "application/json; charset=latin-1", "x"]
        )
    },
    optional={
        "Accept": st.sampled_from(
            ["application/json", "application/graphql-response+json", "*/*", "text/html", "a/b;q=x,"]
        )
    },
)
MESSAGES = st.lists(
    st.one_of(
        st.just('{"type": "connection_init"}'),
        st.fixed_dictionaries({
            "type": st.sampled_from(["connection_init", "subscribe", "subscribe", "complete", "ping", "pong", "next", ""]),
            "id": st.one_of(st.sampled_from(["1", "2"]), ANYTHING),
            "payload": st.one_of(ENVELOPES, ANYTHING),
        }).map(json.dumps),
        ANYTHING.map(json.dumps),
        st.text(max_size=60),
        st.binary(max_size=40),
    ),
    max_size=8,
)  # fmt: skip


#: What `make fuzz` takes; a shorter run writes nothing into the documentation.
WHOLE_SECONDS = 600.0


class Target:
    """The endpoint under fire; each case comes from another address, so that no limit of one caller gets in the way."""

    def __init__(self, place: Deployment, cookie: str) -> None:
        self._place = place
        self._cookie = cookie
        self._http = requests.Session()
        self.cases: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()

    def _headers(self) -> dict[str, str]:
        number = sum(self.cases.values())
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        # One caller in three is logged in, so that mutations run too.
        return {"X-Forwarded-For": address, **({"Cookie": self._cookie} if number % 3 == 0 else {})}

    def _check(self, kind: str, answer: requests.Response) -> None:
        self.cases[kind] += 1
        self.answers[answer.status_code] += 1
        assert self._place.processes["web"].poll() is None, "the web server died"
        assert answer.status_code < 500, answer.text[:300]
        assert isinstance(answer.json(), dict)
        assert "INTERNAL_ERROR" not in answer.text, answer.text[:300]

    def document(self, text: str) -> None:
        """POST a document."""
        self._check(
            "documents",
            self._http.post(f"{self._place.url}/graphql", json={"query": text}, headers=self._headers(), timeout=20),
        )

    def body(self, data: bytes, headers: dict[str, str]) -> None:
        """POST any bytes under any headers."""
        sent = {**headers, **self._headers()}
        self._check("requests", self._http.post(f"{self._place.url}/graphql", data=data, headers=sent, timeout=20))

    def socket(self, messages: list[str | bytes]) -> None:
        """Say anything on a WebSocket; it may only be answered or closed with one of the protocol's codes."""
        self.cases["sockets"] += 1
        address = self._place.url.replace("http", "ws") + "/graphql"
        try:
            with connect(address, subprotocols=["graphql-transport-ws"], additional_headers=self._headers()) as socket:  # type: ignore[list-item]
                for message in messages:
                    socket.send(message)
                socket.send('{"type": "ping"}')
                while '"pong"' not in (heard := str(socket.recv(timeout=10))):
                    assert "INTERNAL_ERROR" not in heard, heard[:300]
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            assert code in (1000, 1007, 1009, 4400, 4401, 4409, 4429), f"closed with {code}"
        assert self._place.processes["web"].poll() is None, "the web server died"


def fire(target: Target, seconds: float, start: int = 1) -> None:
    """Run cases of every kind for that long; raises at the first that fails, with the case in the error."""
    kinds: list[tuple[Callable[..., None], Any]] = [
        (target.document, st.tuples(st.one_of(VALID, INVALID, broken()))),
        (target.body, st.tuples(BODIES, HEADERS)),
        (target.socket, st.tuples(MESSAGES)),
    ]
    until = time.monotonic() + seconds
    turn = start
    while time.monotonic() < until:
        for work, cases in kinds:
            _fire(work, cases, turn)
        turn += 1


def _fire(work: Callable[..., None], cases: Any, turn: int) -> None:
    limits = settings(
        max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip

    @seed(turn)
    @limits
    @given(cases)
    def each(case: tuple[Any, ...]) -> None:
        try:
            work(*case)
        except AssertionError as error:
            error.add_note(f"The case: {case!r}")
            raise

    each()


def run(seconds: float, folder: Path) -> Target:
    """Set an endpoint up over a small universe, fire, and say what ran."""
    warnings.simplefilter("ignore")
    handle = simulator.run_in_thread(simulator.SimulatorConfig(kills=(30, 10, 5), hostile_names=True))
    try:
        with deployed(folder, handle, LOG_LEVEL="WARNING", TRUSTED_PROXIES="127.0.0.1") as place:
            place.start_web()
            pilot = handle.simulator.universe.demo_characters[0].character_id
            target = Target(place, asyncio.run(_log_in(place.url, pilot)))
            place.command("killsync", "sync", str(pilot))
            fire(target, seconds)
            assert place.get("/healthz")[0] == 200
            assert "internal error" not in place.log("web"), place.log("web")[-2000:]
    finally:
        handle.stop()
    return target


async def _log_in(url: str, pilot: int) -> str:
    async with Player(url) as player:
        assert (await player.log_in(pilot)).status == 302
        return player.cookies()["Cookie"]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else WHOLE_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        target = run(seconds, Path(folder))
    told = ", ".join(f"{number:,} {kind}" for kind, number in target.cases.items())
    answers = ", ".join(f"{status}: {number:,}" for status, number in sorted(target.answers.items()))
    lines = [
        f"{sum(target.cases.values()):,} cases in {seconds:.0f} s without a failure: {told}.",
        f"Answers by status: {answers}.",
    ]
    print("\n".join(lines))
    if seconds >= WHOLE_SECONDS:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        put("fuzz", [*lines, "", f"Written by `make fuzz` on {stamp}."])


if __name__ == "__main__":
    main()
