"""The documentation names everything there is: each setting, command, option, queue and make target, and no broken link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from killsync.settings import Settings
from tests.support.resources import PROJECT

CONFIGURATION = (PROJECT / "docs" / "configuration.md").read_text()
COMMANDS = (PROJECT / "docs" / "commands.md").read_text()
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    row = next((line for line in CONFIGURATION.splitlines() if line.startswith(f"| `{name.upper()}` |")), None)
    assert row is not None, f"{name.upper()} is missing in docs/configuration.md"
    assert str(field.description) in row
    default = str(int(field.default)) if isinstance(field.default, bool) else str(field.default)
    assert f"`{default}`" in row or not field.default
    assert re.search(rf"^#? ?{name.upper()}=", (PROJECT / ".env.example").read_text(), re.MULTILINE), ".env.example"


def test_no_setting_is_documented_that_does_not_exist() -> None:
    named = re.findall(r"^\| `([A-Z_]+)` \|", CONFIGURATION, re.MULTILINE)
    assert set(named) == {name.upper() for name in Settings.model_fields}


def test_every_command_and_option_is_documented() -> None:
    from killsync.cli.main import app

    group = typer.main.get_command(app)
    for path, command in _commands(group, "killsync"):
        assert path in COMMANDS, path
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert option in COMMANDS, f"{path} {option}"


def _commands(group: object, path: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            found += _commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


def test_every_queue_and_make_target_is_documented() -> None:
    from killsync.broker.queues import QUEUES

    for queue in QUEUES:
        assert f"`{queue}`" in COMMANDS
    targets = re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for target in set(targets) - {"help", "install-dev", "services"}:
        assert f"make {target}" in COMMANDS, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_an_example_exists(page: Path) -> None:
    from killsync.cli.main import app

    known = {path.removeprefix("killsync ") for path, _ in _commands(typer.main.get_command(app), "killsync")}
    targets = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            command = line.partition(" # ")[0]
            for words in re.findall(r"(?:^|[ /])killsync ((?!killsync)[a-z][a-z -]*)", command):
                assert any(words.strip() == name or words.startswith(f"{name} ") for name in known), line
            for target in re.findall(r"(?:^|&& )make ([a-z-]+)", command):
                assert target in targets, line


#: Files that a page tells its reader to make.
TO_BE_MADE = {"killsync/names/renames.py", "tests/integration/test_renames.py"}
TEXTS = [
    *PAGES, *(PROJECT / name for name in ("Makefile", "Procfile", "compose.yaml", "pyproject.toml", ".env.example", ".gitignore")),
    *sorted((PROJECT / "scripts").iterdir()), *sorted((PROJECT / "docs" / "ops").iterdir()),
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_every_file_and_package_that_is_named_exists(text: Path) -> None:
    if text.is_dir() or text.suffix == ".pyc":
        return
    tops = "actors|bench|docs|graphql_api|killsync|migrations|models|requirements|scripts|simulator|tests"
    named = set(re.findall(rf"(?<![\w./-])(?:{tops})/[\w./-]*(?:\.\w+|/)(?![\w*<])|\b[a-z_]+\.py\b", text.read_text()))
    made_later = {"bench/results/latest.json", "killsync/web/assets/lib/"}
    for path in named - TO_BE_MADE - made_later:
        folders = (PROJECT, PROJECT / "scripts", PROJECT / "docs")
        assert any((folder / path).exists() for folder in folders), f"{text.name} names {path}"
