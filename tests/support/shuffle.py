"""`pytest --shuffle [SEED]`: modules, and the tests of each, in an order that nobody thought of. A test that needs another
before it, or a table, a queue or a port that another made, fails then.

The seed is in the first lines of the output, and brings the same order again.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

_SEED = "killsync_shuffle"


def add_option(parser: pytest.Parser) -> None:
    """`--shuffle`, with a seed or with a new one each time."""
    parser.addoption("--shuffle", nargs="?", type=int, const=-1, metavar="SEED", help="run the tests in a random order")


def choose_seed(config: pytest.Config) -> None:
    """One seed for all processes of a run."""
    if config.option.shuffle == -1:
        config.option.shuffle = getattr(config, "workerinput", {}).get(_SEED, random.randrange(1_000_000))


def give_seed(node: Any) -> None:
    """Tell a worker of xdist, which reads the command line anew, the seed of the run."""
    node.workerinput[_SEED] = node.config.option.shuffle


def shuffle(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put *items* into the order of the seed; those of one module stay together, as its fixtures need it."""
    if config.option.shuffle is None:
        return
    chance = random.Random(config.option.shuffle)
    modules = _modules(items)
    chance.shuffle(modules)
    for module in modules:
        chance.shuffle(module)
    items[:] = [item for module in modules for item in module]


def spread(items: list[pytest.Item]) -> None:
    """Put the modules of each folder evenly among those of the others, in their order.

    Processes that share a run begin with equal parts of it, and the last to end would be the one with all the tests of
    whole deployments, which take the longest.
    """
    by_folder: dict[str, list[list[pytest.Item]]] = {}
    for module in _modules(items):
        by_folder.setdefault(module[0].nodeid.partition("::")[0].rpartition("/")[0], []).append(module)
    places = [(n / len(modules), module) for modules in by_folder.values() for n, module in enumerate(modules)]
    items[:] = [item for _, module in sorted(places, key=lambda each: each[0]) for item in module]


def _modules(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    by_module: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_module.setdefault(item.nodeid.partition("::")[0], []).append(item)
    return list(by_module.values())
