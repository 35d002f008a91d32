"""docs/add-an-actor.md, followed word by word in a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import environment, wait_until
from tests.support.resources import PROJECT

PAGE = (PROJECT / "docs" / "add-an-actor.md").read_text()
COPIED = (
    "actors",
    "graphql_api",
    "killsync",
    "migrations",
    "models",
    "simulator",
    "tests",
    "scheduler.py",
    "pyproject.toml",
)


def block(after: str) -> str:
    """The first block of code that follows a text of the page."""
    found = re.search(r"```python\n(.*?)```", PAGE[PAGE.index(after) :], re.DOTALL)
    assert found is not None
    return textwrap.dedent(found[1])


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """A copy of the project in which the page was followed."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in COPIED:
        if (PROJECT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules", "lib")
            shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, copy)
    (copy / "killsync/names/renames.py").write_text(block("`killsync/names/renames.py`:"))
    (copy / "tests/integration/test_renames.py").write_text(block("`tests/integration/test_renames.py`:"))

    imports, actor = block("`actors/enrichment.py` gets").split("\n\n\n", 1)
    module = copy / "actors/enrichment.py"
    before = module.read_text()
    assert before.count("\nfrom killsync.names") == 1
    module.write_text(before.replace("\nfrom killsync.names", f"\n{imports}\nfrom killsync.names") + f"\n\n{actor}")

    messages = copy / "killsync/broker/messages.py"
    named = re.sub(
        r"(QUEUE_OF\b[^{]*\{\n)", rf"\1    {block('`QUEUE_OF` in').strip()}\n", messages.read_text(), count=1
    )
    assert named != messages.read_text()
    messages.write_text(named)
    return copy


def python(folder: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
        env=environment(PYTHONPATH=str(folder), **values),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_its_test_passes_and_its_files_stand_in_the_right_place(followed: Path) -> None:
    # The tests of the copy make their own settings; the copy has no Makefile, so it is linted by the tools themselves.
    python(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_renames.py",
           "tests/unit/test_architecture.py")  # fmt: skip
    python(followed, "-m", "ruff", "check", "--no-cache", "--no-fix", "actors", "killsync/names", "killsync/broker",
           "tests/integration/test_renames.py", "--ignore", "I001")  # fmt: skip


def test_a_worker_does_what_is_sent_by_its_name(followed: Path, deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.sql("INSERT INTO \"character\" (character_id, name) VALUES (95465499, 'John Doe')")
    place.settings["PYTHONPATH"] = str(followed)
    place.start_worker(threads=2)
    sending = (
        "from killsync.broker.setup import make_broker; from killsync.settings import current; make_broker(current())\n"
    )
    python(followed, "-c", sending + block("Whoever needs it sends it:"), **{
        name: value for name, value in place.settings.items() if name != "PYTHONPATH"
    })  # fmt: skip

    def is_done() -> bool:
        (name,) = place.sql('SELECT name FROM "character" WHERE character_id = 95465499')[0]
        return name != "John Doe"

    wait_until(is_done, "the worker has forgotten the name", 30)
