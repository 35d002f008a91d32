"""What is sent by an actor's name arrives where the actor reads, and what a message counts travels with it."""

from __future__ import annotations

import dramatiq

from killsync.broker.messages import QUEUE_OF
from killsync.broker.running import RunningMessage, running_message

#: Actors that only versions before this one send to.
NOT_SENT_TO = {"fetch_killmail"}


def test_every_actor_is_sent_to_on_the_queue_it_reads() -> None:
    import actors  # noqa: F401 - declares them

    declared = {name: actor.queue_name for name, actor in dramatiq.get_broker().actors.items()}
    assert {name: queue for name, queue in declared.items() if name not in NOT_SENT_TO} == QUEUE_OF


def test_what_a_message_counts_is_in_its_own_options() -> None:
    options = {"retries": 7}
    message = RunningMessage("an id", options)
    assert message.tries == 7
    assert [message.increment("malformed"), message.increment("malformed")] == [1, 2]
    assert options == {"retries": 7, "malformed": 2}
    message.reset("malformed")
    assert options == {"retries": 7} and message.increment("malformed") == 1


def test_outside_of_a_worker_each_message_is_one_of_its_own() -> None:
    one, other = running_message(), running_message()
    assert one.id != other.id and one.tries == 0
