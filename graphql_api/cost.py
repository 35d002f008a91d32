"""What an operation may cost at most, weighed on the parsed document before anything is fetched.

Each field counts one for each object it is on; a list counts as many objects as it usually holds, a page as many as it
is asked for. So the cost is about the number of values in the answer.
"""

from __future__ import annotations

from typing import Any

from tartiflette.language.ast import FieldNode, FragmentDefinitionNode, InlineFragmentNode, IntValueNode, VariableNode

from graphql_api.errors import Forbidden, Refused

#: Two full pages of 100 killmails with everything on them.
MOST_COST = 150_000
#: Costs of reaching into the database at all, for each field of the root.
ROOT_COST = 20

#: Objects that a list usually holds.
_USUAL = {
    "attackers": 12, "items": 12, "myCharacters": 4, "workerStatus": 5, "workerStatusUpdates": 5,
    "types": 40, "fields": 12, "inputFields": 10, "args": 3, "enumValues": 5, "directives": 4, "possibleTypes": 4,
    "interfaces": 4,
}  # fmt: skip
#: Slots of a rack that are usually filled.
_USUAL |= dict.fromkeys(("high", "mid", "low"), 5) | dict.fromkeys(("rigs", "subsystems", "services"), 3)
#: What it costs to find a field's value out, beside handing it over: a fit is written, its figures are calculated.
_WORK = {"fitting": 50, "stats": 300, "killmailStats": 1_000}
#: What lies in a container is rare, however often it is asked for.
_NESTED_ITEMS = 1
_PAGES = {"killmails": 50, "syncRuns": 20}
_MOST_A_PAGE = 100


def check(document: Any, operation: Any, variables: dict[str, Any] | None, *, introspection: bool = True) -> int:
    """The cost of *operation*, which is within bounds.

    Raises:
        Refused: it is not; the error carries the cost and the limit.
        Forbidden: it asks for the schema, and *introspection* is off.
    """
    weigher = _Weigher(document, variables or {}, introspection)
    cost = weigher.root(operation.selection_set)
    if cost > MOST_COST:
        raise Refused("points of cost", cost, MOST_COST)
    return cost


class _Weigher:
    def __init__(self, document: Any, variables: dict[str, Any], introspection: bool) -> None:
        self._fragments = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self._variables = variables
        self._introspection = introspection
        self._known: dict[tuple[str, str], int] = {}

    def root(self, selection_set: Any) -> int:
        return self._set(selection_set, "")

    def _set(self, selection_set: Any, parent: str) -> int:
        """The cost of a selection for one object of the field *parent*; empty for the operation itself."""
        total = 0
        for node in selection_set.selections if selection_set else ():
            if isinstance(node, FieldNode):
                total += self._field(node, parent)
            elif isinstance(node, InlineFragmentNode):
                total += self._set(node.selection_set, parent)
            else:
                total += self._spread(node.name.value, parent)
        return total

    def _spread(self, name: str, parent: str) -> int:
        if name not in self._fragments:
            return 0
        if (name, parent) not in self._known:
            self._known[name, parent] = self._set(self._fragments[name].selection_set, parent)
        return self._known[name, parent]

    def _field(self, node: Any, parent: str) -> int:
        name = node.name.value
        if not self._introspection and name in ("__schema", "__type"):
            raise Forbidden("introspection is turned off here")
        inside = self._set(node.selection_set, name) if node.selection_set else 0
        cost = 1 + _WORK.get(name, 0) + inside * self._objects(node, name, parent)
        return cost + ROOT_COST if not parent else cost

    def _objects(self, node: Any, name: str, parent: str) -> int:
        if name in _PAGES:
            return self._first(node, _PAGES[name])
        if name == "items" and parent == "items":
            return _NESTED_ITEMS
        return _USUAL.get(name, 1)

    def _first(self, node: Any, default: int) -> int:
        """How many a page is asked for; what is not sensible is refused later and counts as a full page."""
        for argument in node.arguments or ():
            if argument.name.value != "first":
                continue
            value = argument.value
            if isinstance(value, VariableNode):
                given = self._variables.get(value.name.value, _MOST_A_PAGE)
            else:
                given = int(value.value) if isinstance(value, IntValueNode) else default
            return given if isinstance(given, int) and 1 <= given <= _MOST_A_PAGE else _MOST_A_PAGE
        return default
