"""Fixtures of the tests of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import change_settings
from tests.support.receiver import Receiver, receiving
from tests.support.webhook_account import Told


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def told(settings: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    from killsync.webhooks import delivery

    monkeypatch.setattr(delivery, "NAMES_SECONDS", 0.0)
    yield Told(change_settings(WEBHOOK_ALLOW_PRIVATE="1"), receiver)
    import dramatiq

    dramatiq.get_broker().flush_all()
