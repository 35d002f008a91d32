"""A worker whose ESI clock runs fast, like its simulator's: `python -m tests.support.fast_worker STARTED SPEED THREADS`."""

from __future__ import annotations

import signal
import sys
import threading
import time

import dramatiq

import actors  # noqa: F401 - makes the broker and declares the actors
from killsync.esi import clock


def main(started: float, speed: float, threads: int) -> None:
    """Work until SIGTERM."""
    clock.shared.use(clock.Clock(lambda: started + (time.time() - started) * speed, speed))
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    broker = dramatiq.get_broker()
    broker.emit_after("process_boot")
    # Delayed messages are looked at once in this many milliseconds: as often, at its speed, as by default.
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=max(10, int(1000 / speed)))
    worker.start()
    print("worker started", flush=True)
    stopped.wait()
    worker.stop(timeout=5_000)


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
