"""A tracker from the page in a real browser to the channel that is told: typed, saved, and heard with ping and colour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from models import connection
from tests.support import static_data
from tests.support.browser import DESKTOP, WAIT_MS, Site, chromium, log_in, site
from tests.support.deployment import wait_until
from tests.support.killmails import fight
from tests.support.receiver import receiving

FIRST, SECOND = 990_000_101, 990_000_102


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def place(browser: Any, tmp_path: Any) -> Iterator[Site]:
    with site(tmp_path, {"WEBHOOK_ALLOW_PRIVATE": "1"}, kills=(5, 5), latency=0.01) as made:
        static_data.load()
        yield made


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_tracker_goes_from_the_page_to_the_channel(browser: Any, place: Site, scripts: bool) -> None:
    from killsync.webhooks import matching

    universe = place.handle.simulator.universe
    fight(universe, FIRST, 12)
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=scripts)
    context.set_default_timeout(WAIT_MS)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    with receiving() as receiver:
        log_in(page, place, place.handle.simulator.universe.demo_characters[0].character_id)
        page.goto(place.url + "/webhooks")
        page.get_by_label("Name").fill("Delve")
        page.get_by_label("Address").fill(f"{receiver.url}/api/webhooks/1/token")
        page.get_by_label("One of my characters").uncheck()
        if scripts:
            _by_keyboard(page)
        else:
            page.locator("input[name=systems]").fill("1dq1-a")
        page.locator("select[name=ping]").select_option("here")
        page.locator("input[name=with_color]").check()
        if scripts:
            page.locator("input[name=color]").fill("#123456")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_text("The webhook was added").wait_for()
        page.get_by_text("in 1DQ1-A; stored within 1 hour").wait_for()
        fight(universe, SECOND, 12)
        with connection():
            matching.announce()
        wait_until(lambda: bool(receiver.taken()), "the channel is told", 60)
        sent = receiver.taken()[0].json
    assert wrong == [] and len(receiver.taken()) == 1
    assert sent["content"] == "@here" and sent["allowed_mentions"] == {"parse": ["everyone"]}
    assert sent["embeds"][0]["color"] == (0x123456 if scripts else 0x2F6FA7)
    assert f"killmail {SECOND}" in sent["embeds"][0]["footer"]["text"]
    context.close()


def _by_keyboard(page: Any) -> None:
    """A name is chosen below its field; the sentence and what it would have told follow."""
    field = page.locator("input[name=systems]")
    field.press_sequentially("1DQ", delay=20)
    page.locator("#names-systems [role=option]").first.wait_for()
    field.press("ArrowDown")
    field.press("Enter")
    assert field.input_value() == "1DQ1-A"
    page.locator("#preview #sentence").get_by_text("in 1DQ1-A").wait_for()
    page.locator("#preview").get_by_text("this would have told you of 1 killmail").wait_for()
