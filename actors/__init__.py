"""The pipeline, one file a step, read in order: broker, enqueue, sync, corporations, dispatch, killmails, enrichment,
notifications, sweep.

Importing this package chooses the broker of the settings and declares every actor: `dramatiq actors` needs no more.
A worker process that boots checks its settings and waits for the database; other processes connect the models themselves.
"""

from actors.broker import make_broker
from settings import load

make_broker(load())

from actors import corporations, enqueue, enrichment, killmails, notifications, sweep, sync, tickers  # noqa: E402

__all__ = ["corporations", "enqueue", "enrichment", "killmails", "notifications", "sweep", "sync", "tickers"]
