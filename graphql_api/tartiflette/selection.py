"""What an operation selects: fields by response key, fragments and @skip and @include taken into account."""

from __future__ import annotations

from typing import Any

from tartiflette.language.ast import FieldNode, InlineFragmentNode, VariableNode


class NotPlain(Exception):
    """This result needs Tartiflette's own coercers."""


def collect(selection_set: Any, type_name: str, context: Any, into: dict[str, list[Any]], seen: set[str]) -> None:
    """Collect the fields selected on an object type, by response key, as the specification's CollectFields does."""
    for node in selection_set.selections:
        if node.directives and not _is_included(node, context.variable_values):
            continue
        if isinstance(node, FieldNode):
            into.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            continue
        if isinstance(node, InlineFragmentNode):
            fragment = node
        else:
            if node.name.value in seen:
                continue
            seen.add(node.name.value)
            fragment = context.fragments[node.name.value]
        # The schema has no interfaces and no unions: a fragment is on this very type or does not apply.
        if fragment.type_condition is None or fragment.type_condition.name.value == type_name:
            collect(fragment.selection_set, type_name, context, into, seen)


def _is_included(node: Any, variables: dict[str, Any]) -> bool:
    for directive in node.directives:
        name = directive.name.value
        if name not in ("skip", "include"):
            raise NotPlain
        value = directive.arguments[0].value
        condition = variables[value.name.value] if isinstance(value, VariableNode) else value.value
        if bool(condition) is (name == "skip"):
            return False
    return True


def selects(info: Any, *path: str) -> bool:
    """Whether the operation selects the field at *path* (names, not aliases) below the field that *info* is of."""
    nodes = info.field_nodes
    graphql_type = info.return_type
    for name in path:
        while graphql_type.is_wrapping_type:
            graphql_type = graphql_type.wrapped_type
        selected: dict[str, list[Any]] = {}
        seen: set[str] = set()
        for node in nodes:
            if node.selection_set:
                collect(node.selection_set, graphql_type.name, info, selected, seen)
        nodes = [node for group in selected.values() for node in group if node.name.value == name]
        if not nodes:
            return False
        graphql_type = graphql_type.find_field(name).graphql_type
    return True
