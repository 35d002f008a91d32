"""The shape of the house: who may import whom, how long a module is, where SQL text stands, what an actor module holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.resources import PROJECT

#: Lines of a module: about so many, and never more than so many.
ABOUT, MOST_LINES = 300, 330
#: Modules that are longer than `ABOUT`.
MOST_LONG_MODULES = 5
#: Statements written as SQL text, in the whole project outside migrations.
MOST_SQL_TEXTS = 40
#: Calls of `is_postgres()`.
MOST_IS_POSTGRES = 12
#: SQL text stands in `models/`, in files of these names ...
SQL_FILES = {"queries.py", "store.py"}
#: ... and in these, each with its reason.
SQL_ELSEWHERE = {
    "killsync/cli/backup.py": "looks into a file of SQLite that is not the connected database",
}
#: Texts that stand anywhere else.
MOST_SQL_OUT_OF_PLACE = 0
#: The functions that take texts, themselves.
SQL_FUNCTIONS = "models/sql.py"

PACKAGES = ("actors", "graphql_api", "killsync", "models", "simulator")
#: Functions that take a statement as text: of `models.sql`, of Peewee, of a DB-API cursor.
TAKE_SQL = {"rows", "run", "insert_rows", "add_rows", "execute_sql", "SQL"}


@dataclass(frozen=True)
class Module:
    """One file of the code."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    @property
    def lines(self) -> int:
        return self.text.count("\n")


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """Every module of the packages, and the scheduler's."""
    files = [file for package in packages or PACKAGES for file in sorted((PROJECT / package).rglob("*.py"))]
    return tuple(Module(str(file.relative_to(PROJECT)), file.read_text()) for file in files)


ALL = (*modules(), Module("scheduler.py", (PROJECT / "scheduler.py").read_text()))


def test_imports_point_downwards(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(PROJECT)
    failed = lint_imports(config_filename=str(PROJECT / "pyproject.toml"), no_cache=True, verbose=False)
    assert not failed, capsys.readouterr().out


def test_the_scheduler_is_some_lines_that_run_a_feature() -> None:
    scheduler = ALL[-1]
    assert scheduler.lines <= 10
    assert set(_imports(scheduler.tree)) == {"killsync.scheduling.scheduler"}


def test_the_simulator_is_known_to_the_command_line_and_to_tests_alone() -> None:
    known_to = {
        module.path
        for module in ALL
        if any(name.partition(".")[0] == "simulator" for name in _imports(module.tree))
        and not module.path.startswith("simulator/")
    }
    assert all(path.startswith("killsync/cli/") for path in known_to), known_to


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_modules_are_short() -> None:
    too_long = {module.path: module.lines for module in ALL if module.lines > MOST_LINES}
    assert not too_long
    long = {module.path: module.lines for module in ALL if module.lines > ABOUT}
    assert len(long) <= MOST_LONG_MODULES, long


def test_every_module_says_what_it_is_for() -> None:
    assert not [module.path for module in ALL if not ast.get_docstring(module.tree)]


def test_sql_text_is_rare_and_stands_where_it_is_looked_for() -> None:
    texts = {
        module.path: count for module in ALL if module.path != SQL_FUNCTIONS and (count := _sql_texts(module.tree))
    }
    assert sum(texts.values()) <= MOST_SQL_TEXTS, texts
    elsewhere = {path: count for path, count in texts.items() if not _may_hold_sql(path)}
    assert sum(elsewhere.values()) <= MOST_SQL_OUT_OF_PLACE, elsewhere


def _may_hold_sql(path: str) -> bool:
    return path.startswith("models/") or Path(path).name in SQL_FILES or path in SQL_ELSEWHERE


def _sql_texts(tree: ast.AST) -> int:
    """Calls that give a statement as text. `run` is one only where it comes from `models.sql`: others have that name too."""
    ours = {
        (name.asname or name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("models.sql", "peewee")
        for name in node.names
        if name.name in TAKE_SQL
    }
    return sum(_takes_sql(node, ours) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _takes_sql(call: ast.Call, ours: set[str]) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in ours
    if not isinstance(call.func, ast.Attribute):
        return False
    of = call.func.value
    by_module = isinstance(of, ast.Name) and of.id in ("sql", "peewee") and call.func.attr in TAKE_SQL
    by_cursor = (
        call.func.attr in ("execute", "executemany", "copy_expert") and bool(call.args) and _is_text(call.args[0])
    )
    return by_module or by_cursor or call.func.attr == "execute_sql"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_the_two_databases_are_seldom_told_apart() -> None:
    calls = {module.path: count for module in ALL if (count := _calls(module.tree, "is_postgres"))}
    assert sum(calls.values()) <= MOST_IS_POSTGRES, calls


def _calls(tree: ast.AST, name: str) -> int:
    named = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return sum(
        (isinstance(function, ast.Name) and function.id == name)
        or (isinstance(function, ast.Attribute) and function.attr == name)
        for function in named
    )


@pytest.mark.parametrize("module", modules("actors"), ids=lambda module: module.path)
def test_a_module_of_actors_holds_actors_and_nothing_else(module: Module) -> None:
    if module.path == "actors/__init__.py":
        return
    body = module.tree.body[1:]  # after the docstring
    rest = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert rest and all(isinstance(node, ast.FunctionDef) and _is_actor(node) for node in rest)
    assert module.lines < 60, "an actor is some lines that call killsync"


def _is_actor(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(each, ast.Call) and ast.unparse(each.func) == "dramatiq.actor" for each in function.decorator_list
    )
