"""The simulator answers what ESI's own OpenAPI document says, where that document is at hand."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml

from simulator import Handle
from tests.support.esi_application import HEADERS, token_of
from tests.support.resources import PROJECT

DOCUMENT = PROJECT.parent / "shared" / "esi-openapi.yaml"

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="ESI's OpenAPI document is not beside the project")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return found


def schema_of(document: dict[str, Any], method: str, path: str, status: int) -> dict[str, Any]:
    """The JSON schema of an answer, with OpenAPI's own words turned into JSON Schema's and no unknown fields."""
    responses = document["paths"][path][method]["responses"]
    answer = responses.get(str(status)) or responses["default"]
    schema = {"components": document["components"], **answer["content"]["application/json"]["schema"]}
    return strict(copy.deepcopy(schema))  # type: ignore[no-any-return]


def strict(node: Any) -> Any:
    """Objects take no fields that the document does not name: a simulator that says more than ESI is wrong too."""
    if isinstance(node, dict):
        if node.get("nullable") and "type" in node:
            node["type"] = [node["type"], "null"]
        if "properties" in node and "additionalProperties" not in node:
            node["additionalProperties"] = False
        for each in node.values():
            strict(each)
    elif isinstance(node, list):
        for each in node:
            strict(each)
    return node


async def test_every_answer_is_as_the_document_says(simulated: Callable[..., Handle], document: dict[str, Any]) -> None:
    handle = simulated(kills=(60, 30, 10))
    universe = handle.simulator.universe
    pilot = universe.demo_characters[0]
    token = await token_of(handle, pilot.character_id, corporation=True)
    wanted: list[tuple[str, str, dict[str, Any], int]] = [
        ("get", "/characters/{character_id}/killmails/recent", {"character_id": pilot.character_id}, 200),
        ("get", "/corporations/{corporation_id}/killmails/recent", {"corporation_id": pilot.corporation_id}, 200),
        ("get", "/characters/{character_id}", {"character_id": pilot.character_id}, 200),
        ("get", "/corporations/{corporation_id}", {"corporation_id": pilot.corporation_id}, 200),
        ("get", "/alliances/{alliance_id}", {"alliance_id": next(iter(universe.alliances))}, 200),
        ("get", "/universe/types/{type_id}", {"type_id": 587}, 200),
        ("get", "/universe/systems/{system_id}", {"system_id": 30000142}, 200),
        ("get", "/universe/factions", {}, 200),
        ("get", "/markets/prices", {}, 200),
        ("get", "/status", {}, 200),
        ("get", "/universe/types/{type_id}", {"type_id": 1_999_999_999}, 404),
    ]
    for kill in universe.kills.values():
        ids = {"killmail_id": kill.killmail_id, "killmail_hash": kill.killmail_hash}
        wanted.append(("get", "/killmails/{killmail_id}/{killmail_hash}", ids, 200))
    some = next(iter(universe.kills))
    wrong = {"killmail_id": some, "killmail_hash": "0" * 40}
    wanted.append(("get", "/killmails/{killmail_id}/{killmail_hash}", wrong, 422))
    checkers: dict[tuple[str, int], Any] = {}
    async with aiohttp.ClientSession(headers={**HEADERS, "Authorization": f"Bearer {token}"}) as http:
        for method, path, ids, status in wanted:
            async with http.request(method, handle.url + path.format(**ids)) as answer:
                assert answer.status == status, (path, ids, answer.status)
                body = await answer.json()
                check_headers(document, method, path, status, answer)
            if (path, status) not in checkers:
                checkers[path, status] = jsonschema.Draft202012Validator(schema_of(document, method, path, status))
            checkers[path, status].validate(body)
        known = [pilot.character_id, pilot.corporation_id, 587, 30000142, 500001]
        async with http.post(f"{handle.url}/universe/names", json=known) as answer:
            assert answer.status == 200
            jsonschema.Draft202012Validator(schema_of(document, "post", "/universe/names", 200)).validate(
                await answer.json()
            )
        async with http.post(f"{handle.url}/characters/affiliation", json=list(universe.characters)) as answer:
            assert answer.status == 200
            jsonschema.Draft202012Validator(schema_of(document, "post", "/characters/affiliation", 200)).validate(
                await answer.json()
            )


def check_headers(
    document: dict[str, Any], method: str, path: str, status: int, answer: aiohttp.ClientResponse
) -> None:
    """The headers that the document promises for an answer are there."""
    for name in document["paths"][path][method]["responses"].get(str(status), {}).get("headers", {}):
        if re.fullmatch(r"X-Pages|ETag|Last-Modified|Cache-Control", name):
            assert name in answer.headers, (path, name)
