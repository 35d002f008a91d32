"""The images that the test runs: those that compose.yaml names where they can be pulled, else ones made from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.resources import PROJECT

HERE = Path(__file__).parent
NAMED = {"KILLSYNC_BASE": "python:3.11-slim-trixie", "POSTGRES_IMAGE": "postgres:17", "RABBITMQ_IMAGE": "rabbitmq:4"}
BASE, IMAGE = "killsync-test/base", "killsync-test/killsync"
#: What the image may weigh, bytes.
MOST_BYTES = 350_000_000


class NotHere(Exception):
    """This machine cannot run the test; the text says why."""


def docker(*arguments: str, seconds: float = 1800, check: bool = True, **options: object) -> str:
    """The output of a docker command."""
    environment = {**os.environ, "DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0")}
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, env=environment)
    if check and done.returncode:
        raise AssertionError(f"docker {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def check_engine() -> list[str]:
    """The compose command of this machine.

    Raises:
        NotHere: there is no engine, or no compose.
    """
    if shutil.which("docker") is None:
        raise NotHere("there is no docker command")
    if subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode:
        raise NotHere("no Docker engine answers")
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    raise NotHere("there is no docker compose")


def prepare() -> dict[str, str]:
    """The images by the variables of compose.yaml; pulled or made, and Killsync's own built.

    Raises:
        NotHere: they can neither be pulled nor made.
    """
    pulled = {name: image for name, image in NAMED.items() if _is_there(image) or _pulls(image)}
    images = dict(pulled)
    if len(pulled) < len(NAMED):
        if not _is_there(BASE):
            _make_base()
        images = {"KILLSYNC_BASE": BASE}
        for service in ("postgres", "rabbitmq"):
            images[f"{service.upper()}_IMAGE"] = name = f"killsync-test/{service}"
            if not _is_there(name):
                docker(
                    "build", "--network=host", f"--build-arg=BASE={BASE}", f"--target={service}", f"--tag={name}",
                    f"--file={HERE / 'services.dockerfile'}", str(HERE),
                )  # fmt: skip
    docker("build", "--network=host", f"--build-arg=BASE={images['KILLSYNC_BASE']}", f"--tag={IMAGE}", str(PROJECT))
    return {**images, "KILLSYNC_IMAGE": IMAGE}


def _is_there(image: str) -> bool:
    return bool(docker("images", "--quiet", image).strip())


def _pulls(image: str) -> bool:
    return subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, timeout=600).returncode == 0


def _make_base() -> None:
    """A small Debian by debootstrap, which trusts the authorities that this machine trusts."""
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        raise NotHere("the images cannot be pulled, and a base can be made by root with debootstrap alone")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "debian"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(tree)],
            capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        if made.returncode:
            raise NotHere(f"debootstrap made no base: {made.stdout[-500:]}")
        trusted = "etc/ssl/certs/ca-certificates.crt"
        shutil.copy(f"/{trusted}", tree / trusted)
        for spare in (
            "var/cache/apt/archives",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
        ):
            shutil.rmtree(tree / spare, ignore_errors=True)
        (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
        packed = Path(folder) / "base.tar"
        subprocess.run(["tar", "--create", f"--file={packed}", f"--directory={tree}", "."], check=True)
        docker("import", str(packed), BASE)
