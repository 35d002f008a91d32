"""`python -m killsync.probe URL`: whether a process of this host answers, for the health checks of containers.

Exit code 0 when it answers with 200 within four seconds, else 1 with one line that says what came.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

SECONDS = 4.0


def main(url: str) -> int:
    """Ask *url* once, past any proxy; the exit code."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{url} does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if status != 200:
        print(f"{url} answered {status}", file=sys.stderr)
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
