"""`python -m tests.container`: builds the image, starts compose.yaml with the simulator, logs in, sees a killmail, stops.

Exit code 0 also where no engine answers: then it says so. It runs in a project and with ports of its own, and leaves nothing but
images behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.container import images
from tests.container.images import docker
from tests.support.player import Player
from tests.support.resources import PROJECT, free_port

NAME = "killsynctest"
SIMULATED, HERE = "http://simulator.localhost:8081", "http://127.0.0.1:8081"
KILLSYNC = ("web", "worker", "scheduler", "simulator")


class Compose:
    """compose.yaml in a folder that holds nothing but it and `.env`."""

    def __init__(self, command: list[str], folder: Path, built: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "compose.yaml").write_text((PROJECT / "compose.yaml").read_text())
        self._command = [*command, "--project-name", NAME, "--file", "compose.yaml"]
        ports = {"WEB_PORT": str(self.port), "POSTGRES_PORT": str(free_port()), "RABBITMQ_PORT": str(free_port())}
        self._environment = {**os.environ, **built, **ports}

    def run(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check and done.returncode:
            raise AssertionError(f"compose {arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.run("ps", "--quiet", service).strip()))[0]
        return found


def main() -> int:
    """Run the test; the exit code."""
    began = time.monotonic()
    try:
        command = images.check_engine()
        built = images.prepare()
    except images.NotHere as reason:
        print(f"The container test is skipped: {reason}.")
        return 0
    size = int(docker("image", "inspect", "--format", "{{.Size}}", images.IMAGE))
    said(began, f"the image is built: {size / 1e6:.0f} MB")
    assert size < images.MOST_BYTES, size
    look_inside()
    with tempfile.TemporaryDirectory() as folder:
        place = Compose(command, Path(folder), built)
        try:
            walk(place, began)
        except BaseException:
            print(place.run("logs", "--tail=60", check=False), file=sys.stderr)
            raise
        finally:
            place.run("down", "--volumes", "--timeout", "30", check=False)
    return 0


def said(began: float, what: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)


def look_inside() -> None:
    """Nobody's root, no tool that only builds, and the libraries of the pages are there."""
    script = """
        test "$(id -u)" != 0
        for tool in g++ gcc cmake make node npm; do ! command -v $tool || exit 1; done
        ! ls /opt/killsync/lib/python3*/site-packages | grep -iE "^(nodejs|cmake)"
        ls /opt/killsync/lib/python3*/site-packages/killsync/web/assets/lib/graphiql/*.js
        killsync --version; python -m graphql_api --version; python -m scheduler --version
        command -v pg_dump pg_restore psql
    """
    docker("run", "--rm", "--read-only", images.IMAGE, "sh", "-ec", script)


def walk(place: Compose, began: float) -> None:
    """From `killsync init` to a killmail, and to the end."""
    made = docker(
        "run", "--rm", f"--user={os.getuid()}:{os.getgid()}", f"--volume={place.folder}:/here", "--workdir=/here", images.IMAGE,
        "killsync", "init", "--demo", "--yes", f"--sso-callback-url=http://127.0.0.1:{place.port}/auth/callback",
    )  # fmt: skip
    assert "Written: " in made and (place.folder / ".env").stat().st_mode & 0o777 == 0o600
    configured = place.run("config")
    assert "'Killsync/1.0 (demo@localhost)'" not in configured and "Killsync/1.0 (demo@localhost)" in configured
    place.run("up", "--detach", "--no-build")
    said(began, "everything is started")
    wait_for_health(place, 180)
    said(began, "everything is healthy")
    checked = place.run("run", "--rm", "killsync", "doctor")
    assert "✗" not in checked and "✓ SSO client" in checked, checked
    asyncio.run(see_a_killmail(f"http://127.0.0.1:{place.port}"))
    said(began, "a player logged in, and a killmail is there with its names")
    backup = place.run("run", "--rm", "killsync", "backup", "backups/test.dump")
    assert "Backup written" in backup, backup
    for service in KILLSYNC:
        found = place.container(service)
        assert found["HostConfig"]["ReadonlyRootfs"] and found["HostConfig"]["Memory"] > 0, service
        assert (
            found["Config"]["User"] == "killsync" and found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        )
    stopping = time.monotonic()
    place.run("stop", "web", "worker", "scheduler")
    took = time.monotonic() - stopping
    said(began, f"web, worker and scheduler have stopped, in {took:.1f} s")
    assert took < 30
    for service in ("web", "worker", "scheduler"):
        state = place.container(service)["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), (service, state)
    logs = place.run("logs", "--no-color")
    assert "Traceback" not in logs, logs[logs.index("Traceback") - 500 :][:3000]


def wait_for_health(place: Compose, seconds: float) -> None:
    waiting = {*KILLSYNC, "postgres", "rabbitmq"}
    deadline = time.monotonic() + seconds
    while waiting:
        assert time.monotonic() < deadline, f"not healthy: {waiting}"
        time.sleep(1)
        waiting -= {
            each for each in waiting if place.container(each)["State"].get("Health", {}).get("Status") == "healthy"
        }


async def see_a_killmail(url: str) -> None:
    """Log in as a pilot of the simulator, and wait for a killmail whose ship has its name."""
    async with aiohttp.ClientSession() as browser, Player(url) as player:
        # A browser takes every name below `localhost` for this machine; the system's resolver may not.
        player.through = lambda address: address.replace(SIMULATED, HERE)
        async with browser.get(f"{HERE}/_sim/characters") as answer:
            pilot = max(await answer.json(), key=lambda each: each["killmails"])
        done = await player.log_in(pilot["character_id"])
        assert done.status == 302, await done.text()
        query = "{ killmails(first: 1) { edges { node { id victim { shipType { name } } } } } }"
        for _ in range(120):
            edges = (await player.data(query))["killmails"]["edges"]
            if edges and edges[0]["node"]["victim"]["shipType"]["name"]:
                return
            await asyncio.sleep(1)
        raise AssertionError("no killmail with its names within two minutes")


if __name__ == "__main__":
    sys.exit(main())
