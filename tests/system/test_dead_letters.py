"""Messages that no worker can do: parked with the reason, seen, sent again or dropped; none of them stops a worker."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pika.exceptions

from tests.support.deployment import BIN, environment, wait_until

DETAILS = "esi_killmail_details_queue"
ENQUEUE = "esi_enqueue_queue"


@contextmanager
def channel(place: Any) -> Iterator[Any]:
    """A channel to the deployment's RabbitMQ, without any of the project's code."""
    connection = pika.BlockingConnection(pika.URLParameters(place.settings["BROKER_URL"]))
    try:
        yield connection.channel()
    finally:
        connection.close()


def message(queue: str = DETAILS, actor: str = "fetch_killmail", **fields: Any) -> dict[str, Any]:
    """A message as Dramatiq writes it."""
    return {"queue_name": queue, "actor_name": actor, "args": [], "kwargs": {}, "options": {},
            "message_id": str(uuid.uuid4()), "message_timestamp": 0, **fields}  # fmt: skip


def exists(place: Any, queue: str) -> bool:
    """Whether somebody has declared *queue*; RabbitMQ drops what is sent to one that nobody has."""
    with channel(place) as to:
        try:
            to.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
    return True


def put(place: Any, queue: str, *bodies: Any) -> None:
    """Send *bodies* to *queue*, once the worker that was just started has declared it."""
    wait_until(lambda: exists(place, queue), f"{queue} is declared", 30)
    with channel(place) as to:
        for body in bodies:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            to.basic_publish("", queue, data, pika.BasicProperties(delivery_mode=2))


def letters(place: Any, *arguments: str) -> list[dict[str, Any]]:
    done = place.command("killsync", "dead-letters", "list", "--json", *arguments)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def waiting(place: Any, queue: str) -> int:
    with channel(place) as to:
        return int(to.queue_declare(queue, passive=True).method.message_count)


def dead_count(place: Any, queue: str) -> int:
    dead = f"{queue}.XQ"
    return waiting(place, dead) if exists(place, dead) else 0


#: Bodies that no worker can take, and what is said of each.
POISON = {
    b"\xff\x00 not JSON": "it is not JSON",
    b"[1, 2, 3]": "it is not a message of Dramatiq",
    json.dumps({**message(), "options": None}).encode(): "its options is missing or of another type",
    json.dumps({**message(), "args": None}).encode(): "its args is missing or of another type",
    json.dumps({**message(), "colour": "red"}).encode(): "it has an unknown field, colour",
    json.dumps(message(queue="somewhere_else")).encode(): "it belongs into another queue, somewhere_else",
}


def test_poison_is_parked_with_its_reason_and_no_worker_minds(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.start_worker(threads=2)
    process = place.processes["worker"]
    unknown = message(actor="actor_of_another_version", kwargs={"killmail_id": 7})
    wrong = message(queue=ENQUEUE, actor="enqueue_due_users", args=[1, 2, 3])
    newer = message(queue=ENQUEUE, actor="dispatch_killmails", kwargs={"a_newer_argument": True})
    put(place, DETAILS, *POISON, unknown)
    put(place, ENQUEUE, wrong, newer)
    wait_until(lambda: dead_count(place, DETAILS) == len(POISON) + 1, "the poison is parked", 30)
    wait_until(lambda: dead_count(place, ENQUEUE) == 1, "the message that always fails is parked", 30)
    found = {letter["reason"] for letter in letters(place, "--queue", DETAILS)}
    assert found == {
        *(f"cannot be read: {reason}" for reason in POISON.values()),
        "ActorNotFound: actor_of_another_version",
    }
    (failed,) = letters(place, "--queue", ENQUEUE)
    status = json.loads(place.command("killsync", "status", "--json").stdout)
    assert {queue["queue_name"]: queue["dead_count"] for queue in status["queues"]}[DETAILS] == len(POISON) + 1
    assert failed["message_id"] == wrong["message_id"] and failed["actor"] == "enqueue_due_users"
    assert failed["reason"].startswith("TypeError: ") and failed["parked_at"]
    assert process.poll() is None
    # Every thread still works, and nothing was taken out by looking.
    put(place, ENQUEUE, *(message(queue=ENQUEUE, actor="sweep") for _ in range(6)))
    wait_until(lambda: waiting(place, ENQUEUE) == 0, "the worker goes on", 20)
    assert dead_count(place, DETAILS) == len(POISON) + 1
    assert place.stop("worker") == 0


def test_dead_letters_are_sent_again_or_dropped(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.start_worker(threads=2)
    lost = [message(actor="actor_of_another_version", kwargs={"killmail_id": n}) for n in range(3)]
    put(place, DETAILS, *lost, b"not JSON")
    wait_until(lambda: dead_count(place, DETAILS) == 4, "they are parked", 30)
    place.stop("worker")
    assert [letter["message_id"] for letter in letters(place)[:3]] == [each["message_id"] for each in lost]

    assert place.command("killsync", "dead-letters", "retry", check=False).returncode == 2
    nobody = place.command("killsync", "dead-letters", "drop", "no-such-id", check=False)
    assert (nobody.returncode, nobody.stderr.strip()) == (1, "killsync: no dead letter has such an id")
    place.command("killsync", "dead-letters", "retry", lost[0]["message_id"])
    assert (waiting(place, DETAILS), dead_count(place, DETAILS)) == (1, 3)
    with channel(place) as to:
        _, _, body = to.basic_get(DETAILS, auto_ack=True)
    assert json.loads(body) == {**lost[0], "options": {}}, "as it was sent, with all its tries before it"
    again = place.command("killsync", "dead-letters", "retry", "--all")
    assert "2 sent again. 1 cannot be read and stay" in again.stdout
    (unread,) = letters(place)
    assert unread["actor"] is None and unread["arguments"] == "'not JSON'"
    assert "cannot be read" in place.command("killsync", "dead-letters", "list").stdout
    place.command("killsync", "dead-letters", "drop", unread["message_id"])
    assert letters(place) == []
    assert "No dead letters." in place.command("killsync", "dead-letters", "list").stdout


def test_a_dead_letter_queue_of_an_earlier_version_is_kept_as_it_is(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    with channel(place) as to:
        to.queue_declare(f"{DETAILS}.XQ", durable=True, arguments={"x-message-ttl": 604_800_000})
    put(place, f"{DETAILS}.XQ", message(kwargs={"killmail_id": 1}))
    place.start_worker(threads=2)
    put(place, DETAILS, b"not JSON")
    wait_until(lambda: dead_count(place, DETAILS) == 2, "the new one lies with the old one", 30)
    assert letters(place)[0]["reason"] == "rejected; the worker's log has the reason"


def test_what_the_commands_cannot_do_they_say_in_one_line(tmp_path: Path) -> None:
    for url, code, says in (
        ("memory://", 2, "BROKER_URL=memory:// keeps no dead letters"),
        ("amqp://guest:guest@127.0.0.1:9/", 1, "RabbitMQ at 127.0.0.1:9 does not answer"),
    ):
        for command in (["list"], ["retry", "--all"], ["drop", "--all"]):
            done = subprocess.run(
                [str(BIN / "killsync"), "dead-letters", *command], capture_output=True, text=True, timeout=60,
                cwd=tmp_path, env=environment(BROKER_URL=url),
            )  # fmt: skip
            assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr
