"""graphql-core's tree of a valid document as the tree that Tartiflette executes. Pure.

Both follow the specification's grammar, so each kind of node has one counterpart. The tree is as deep as
`graphql_api.bounds` lets it be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphql as core
from tartiflette.language import ast as engine


def to_document(document: core.DocumentNode) -> engine.DocumentNode:
    """The document that Tartiflette executes."""
    return engine.DocumentNode(definitions=_all(document.definitions), location=_location(document))


def _location(node: core.Node) -> engine.Location | None:
    if node.loc is None:
        return None
    first, last = node.loc.start_token, node.loc.end_token
    return engine.Location(first.line, first.column, last.line, last.column + last.end - last.start)


def _all(nodes: Iterable[core.Node] | None) -> list[Any]:
    return [_node(each) for each in nodes or ()]


def _node(node: Any) -> Any:
    return None if node is None else _CONVERSIONS[type(node)](node, _location(node))


def _name(node: core.NameNode | None) -> engine.NameNode | None:
    return None if node is None else engine.NameNode(node.value, _location(node))


def _operation(node: core.OperationDefinitionNode, location: Any) -> engine.OperationDefinitionNode:
    return engine.OperationDefinitionNode(
        operation_type=node.operation.value, name=_name(node.name), selection_set=_node(node.selection_set),
        variable_definitions=_all(node.variable_definitions), directives=_all(node.directives), location=location,
    )  # fmt: skip


def _fragment(node: core.FragmentDefinitionNode, location: Any) -> engine.FragmentDefinitionNode:
    return engine.FragmentDefinitionNode(
        name=_name(node.name), type_condition=_node(node.type_condition), selection_set=_node(node.selection_set),
        directives=_all(node.directives), location=location,
    )  # fmt: skip


def _field(node: core.FieldNode, location: Any) -> engine.FieldNode:
    return engine.FieldNode(
        name=_name(node.name), alias=_name(node.alias), arguments=_all(node.arguments),
        directives=_all(node.directives), selection_set=_node(node.selection_set), location=location,
    )  # fmt: skip


def _inline(node: core.InlineFragmentNode, location: Any) -> engine.InlineFragmentNode:
    return engine.InlineFragmentNode(
        type_condition=_node(node.type_condition), selection_set=_node(node.selection_set),
        directives=_all(node.directives), location=location,
    )  # fmt: skip


def _variable(node: core.VariableDefinitionNode, location: Any) -> engine.VariableDefinitionNode:
    return engine.VariableDefinitionNode(
        variable=_node(node.variable), type=_node(node.type), default_value=_node(node.default_value), location=location
    )


_CONVERSIONS: dict[type[core.Node], Any] = {
    core.OperationDefinitionNode: _operation,
    core.FragmentDefinitionNode: _fragment,
    core.VariableDefinitionNode: _variable,
    core.SelectionSetNode: lambda node, at: engine.SelectionSetNode(_all(node.selections), at),
    core.FieldNode: _field,
    core.InlineFragmentNode: _inline,
    core.FragmentSpreadNode: lambda node, at: engine.FragmentSpreadNode(_name(node.name), _all(node.directives), at),
    core.ArgumentNode: lambda node, at: engine.ArgumentNode(_name(node.name), _node(node.value), at),
    core.DirectiveNode: lambda node, at: engine.DirectiveNode(_name(node.name), _all(node.arguments), at),
    core.VariableNode: lambda node, at: engine.VariableNode(_name(node.name), at),
    core.IntValueNode: lambda node, at: engine.IntValueNode(node.value, at),
    core.FloatValueNode: lambda node, at: engine.FloatValueNode(node.value, at),
    core.StringValueNode: lambda node, at: engine.StringValueNode(node.value, at),
    core.BooleanValueNode: lambda node, at: engine.BooleanValueNode(node.value, at),
    core.EnumValueNode: lambda node, at: engine.EnumValueNode(node.value, at),
    core.NullValueNode: lambda _node, at: engine.NullValueNode(at),
    core.ListValueNode: lambda node, at: engine.ListValueNode(_all(node.values), at),
    core.ObjectValueNode: lambda node, at: engine.ObjectValueNode(_all(node.fields), at),
    core.ObjectFieldNode: lambda node, at: engine.ObjectFieldNode(_name(node.name), _node(node.value), at),
    core.NamedTypeNode: lambda node, at: engine.NamedTypeNode(_name(node.name), at),
    core.ListTypeNode: lambda node, at: engine.ListTypeNode(_node(node.type), at),
    core.NonNullTypeNode: lambda node, at: engine.NonNullTypeNode(_node(node.type), at),
}
