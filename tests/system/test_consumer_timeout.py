"""RabbitMQ closes the channel of a worker that holds a message for too long: no delay of ours may come near that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.errors import Retry

from killsync.broker import messages, queues
from killsync.broker.setup import make_broker
from tests.chaos.services import Missing, Rabbit
from tests.support.deployment import wait_until
from tests.support.process import begin, end, settings_for

#: RabbitMQ's consumer timeout in this test, seconds; it looks every second.
TIMEOUT = 6


@pytest.fixture
def rabbit(tmp_path: Path) -> Iterator[Rabbit]:
    """A RabbitMQ that does not wait for 30 minutes."""
    try:
        rabbit = Rabbit(tmp_path)
    except Missing as error:
        pytest.skip(str(error))
    try:
        rabbit.start()
        for name, value in (("consumer_timeout", TIMEOUT * 1000), ("channel_tick_interval", 1000)):
            rabbit.control("eval", f"application:set_env(rabbit, {name}, {value}).")
        rabbit.add_vhost("test")
        yield rabbit
    finally:
        rabbit.end()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_delay_outlives_the_consumer_timeout(
    rabbit: Rabbit, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_DELAY_SECONDS", TIMEOUT / 3)
    previous = dramatiq.get_broker()
    taken: list[tuple[str, float]] = []
    try:
        broker = make_broker(begin(settings_for(database_url, BROKER_URL=rabbit.url("test"))))

        @dramatiq.actor(queue_name=queues.ENQUEUE, actor_name="enqueue_due_users", max_retries=0)
        def sent_with_a_delay() -> None:
            taken.append(("sent", time.monotonic()))

        @dramatiq.actor(queue_name=queues.USER_KILLMAILS, actor_name="sync_user_killmails")
        def comes_back() -> None:
            taken.append(("retried", time.monotonic()))
            if len([each for each in taken if each[0] == "retried"]) < 4:
                raise Retry(delay=3_600_000)

        worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
        worker.start()
        began = time.monotonic()
        messages.send("enqueue_due_users", delay_ms=3_600_000)
        messages.send("sync_user_killmails")
        wait_until(lambda: len(taken) >= 5, "all have come", 60)
        time.sleep(2 * TIMEOUT)
        worker.stop()
        broker.close()
    finally:
        dramatiq.set_broker(previous)
        end()
    assert [kind for kind, _ in taken].count("sent") == 1 and len(taken) == 5, "nothing came twice"
    assert max(at for _, at in taken) - began < 5 * TIMEOUT
    logs = "".join(file.read_text(errors="replace") for file in (rabbit.folder / "log").glob("*.log"))
    assert "timed out" not in logs, "no channel was closed"
