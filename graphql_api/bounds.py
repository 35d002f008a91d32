"""How large a document may be, weighed on graphql-core's tree before anything walks it along its fragments. Pure.

graphql-core bounds tokens, comments and its own recursion. What it cannot know is bounded here: size, levels of nesting,
aliases, directives, and what all operations come to with their fragments unfolded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    ListTypeNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS

from graphql_api.errors import BadDocument, Refused

MOST_BYTES = 32_768
#: A page with everything on it has some 300, GraphiQL's introspection 250; 1,500 take up to 42 ms of a core.
MOST_TOKENS = 1_500
MOST_COMMENTS = 1_000
#: Braces, brackets and parentheses that may be open at once, fragments unfolded.
MOST_NESTING = 40
MOST_ALIASES = 60
MOST_DIRECTIVES = 60
MOST_DEFINITIONS = 100
#: Nodes of all operations, fragments unfolded: what validation and execution walk through.
MOST_NODES = 10_000


def check_size(text: str) -> None:
    """Make sure that *text* is not too long to be parsed.

    Raises:
        Refused: it is.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        raise Refused("bytes", size, MOST_BYTES)


#: What lies below each kind of node, without names and descriptions: those have nothing that is checked by itself.
BRANCHES = {
    kind: tuple(key for key in keys if key not in ("name", "alias", "description"))
    for kind, keys in QUERY_DOCUMENT_KEYS.items()
}
_LEVELS = {SelectionSetNode, ListValueNode, ObjectValueNode, ListTypeNode}


@dataclass
class _Definition:
    """An operation or fragment: its nodes, how deep it goes itself, and where it spreads which fragment."""

    nodes: int = 0
    depth: int = 0
    spreads: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Count:
    aliases: int = 0
    directives: int = 0
    nodes: int = 0


def check(document: DocumentNode) -> int:
    """Make sure that *document* can be validated and executed; the number of its nodes.

    Raises:
        Refused: it exceeds a bound; the error says which, how far, and the bound.
        BadDocument: it holds more than operations and fragments, or its fragments form a circle.
    """
    _bound("definitions", len(document.definitions), MOST_DEFINITIONS)
    count = _Count()
    operations: list[_Definition] = []
    fragments: dict[str, _Definition] = {}
    for node in document.definitions:
        definition = _measure(node, count)
        if isinstance(node, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(node, FragmentDefinitionNode):
            fragments[node.name.value] = definition
        else:
            raise BadDocument("a query holds operations and fragments, and no definitions of types")
    _bound("aliases", count.aliases, MOST_ALIASES)
    _bound("directives", count.directives, MOST_DIRECTIVES)
    _check_unfolded(operations, fragments)
    return count.nodes


def _bound(what: str, found: int, limit: int) -> None:
    if found > limit:
        raise Refused(what, found, limit)


def _measure(definition: Node, count: _Count) -> _Definition:
    found = _Definition()
    waiting: list[tuple[Any, int]] = [(definition, 0)]
    while waiting:
        node, depth = waiting.pop()
        kind = type(node)
        found.nodes += 1
        depth += kind in _LEVELS
        if depth > found.depth:
            _bound("levels of nesting", depth, MOST_NESTING)
            found.depth = depth
        if kind is FieldNode:
            count.aliases += node.alias is not None
        elif kind is SelectionSetNode and not node.selections:
            raise BadDocument(f"{_place(node)}: a selection of nothing")
        elif kind is StringValueNode and "\0" in node.value:
            raise BadDocument(f"{_place(node)}: text may not hold the character NUL")
        elif kind is FragmentSpreadNode:
            found.spreads.append((depth, node.name.value))
        for key in BRANCHES.get(node.kind, ()):
            child = getattr(node, key, None)
            if not child:
                continue
            if isinstance(child, tuple):
                # The parentheses of arguments are a level of their own.
                level = depth + (key in ("arguments", "variable_definitions"))
                waiting += [(each, level) for each in child]
                if key == "directives":
                    count.directives += len(child)
            else:
                waiting.append((child, depth))
    count.nodes += found.nodes
    return found


def _place(node: Node) -> str:
    token = node.loc.start_token if node.loc else None
    return f"line {token.line}, column {token.column}" if token else "the query"


def _check_unfolded(operations: list[_Definition], fragments: dict[str, _Definition]) -> None:
    """Bound depth and nodes of what fragments unfold to; find circles. Iterative: fragments in order of use."""
    unfolded: dict[str, tuple[int, int]] = {}
    for name in _children_first(fragments):
        unfolded[name] = _unfold(fragments[name], unfolded)
    _bound("parts, with its fragments unfolded", sum(_unfold(each, unfolded)[1] for each in operations), MOST_NODES)


def _unfold(definition: _Definition, unfolded: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """(depth, nodes) of a definition with its fragments in place."""
    depth, nodes = definition.depth, definition.nodes
    for at, name in definition.spreads:
        inner_depth, inner_nodes = unfolded.get(name, (0, 0))
        depth = max(depth, at + inner_depth - 1)
        nodes += inner_nodes
    _bound("levels of nesting", depth, MOST_NESTING)
    _bound("parts, with its fragments unfolded", nodes, MOST_NODES)
    return depth, nodes


def _children_first(fragments: dict[str, _Definition]) -> list[str]:
    """Fragment names, each behind all that it spreads.

    Raises:
        BadDocument: one spreads itself, directly or through others.
    """
    order: list[str] = []
    state: dict[str, int] = {}
    for root in fragments:
        stack = [root]
        while stack:
            name = stack[-1]
            if state.get(name) == 2:
                stack.pop()
                continue
            if state.get(name) == 1:
                state[name] = 2
                order.append(stack.pop())
                continue
            state[name] = 1
            for _, child in fragments[name].spreads:
                if child in fragments and state.get(child) == 1:
                    raise BadDocument(f"the fragment {child[:40]} spreads itself")
                if child in fragments and child not in state:
                    stack.append(child)
    return order
