"""Every actor of Killsync, one module a queue. An actor is a few lines that call `killsync`, where the work is done.

`dramatiq actors` imports this package and needs no more: importing it chooses the broker of the settings, and a wrong setting
ends the process with one line. The scheduler and the commands that run everything in one process import it as well.
"""

from killsync.broker.setup import make_broker
from killsync.settings import load

make_broker(load())

from actors import enqueue, enrichment, killmail_details, notifications, user_killmails  # noqa: E402

__all__ = ["enqueue", "enrichment", "killmail_details", "notifications", "user_killmails"]
