"""Validation's rules: graphql-core's, but for the one that compares fields pair by pair, and one for the engine's introspection.

The schema has neither interfaces nor unions (`check_schema`), so every fragment of a valid document is on the very type it
is spread on. Then fields that share a response key can be compared in one walk, instead of each with each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphql import (
    DeferStreamDirectiveLabel,
    DeferStreamDirectiveOnRootField,
    DeferStreamDirectiveOnValidOperationsRule,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    StreamDirectiveOnListField,
    ValidationRule,
    VariableNode,
    is_abstract_type,
    specified_rules,
)

#: Whether the engine has a field (None: the type's fields are not limited) and this argument of it.
EngineKnows = Callable[[str, str, str | None], bool]


#: The one that compares pair by pair; and those of @defer and @stream, which the schema does not have.
_LEFT_OUT = {
    OverlappingFieldsCanBeMergedRule, DeferStreamDirectiveLabel, DeferStreamDirectiveOnRootField,
    DeferStreamDirectiveOnValidOperationsRule, StreamDirectiveOnListField,
}  # fmt: skip


def check_schema(schema: GraphQLSchema) -> None:
    """Make sure that the rules here are enough for *schema*.

    Raises:
        ValueError: it has interfaces or unions.
    """
    abstract = [name for name, each in schema.type_map.items() if is_abstract_type(each)]
    if abstract:
        raise ValueError(f"these rules know no interfaces and unions such as {abstract[0]}")


class FieldsCanBeMerged(ValidationRule):
    """Fields of one response key are the same field with the same arguments."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        self._check([node.selection_set])

    def _check(self, sets: list[SelectionSetNode]) -> None:
        groups: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for each in sets:
            self._collect(each, groups, seen)
        for key, nodes in groups.items():
            first = nodes[0]
            if len(nodes) > 1:
                self._compare(key, first, nodes)
            inner = [node.selection_set for node in nodes if node.selection_set]
            if inner:
                self._check(inner)

    def _compare(self, key: str, first: FieldNode, nodes: list[FieldNode]) -> None:
        given = _arguments(first)
        for node in nodes[1:]:
            if node.name.value != first.name.value:
                reason = f"'{first.name.value}' and '{node.name.value}' are different fields"
            elif _arguments(node) != given:
                reason = "they have differing arguments"
            else:
                continue
            message = f"Fields '{key}' conflict because {reason}. Use different aliases to fetch both."
            self.report_error(GraphQLError(message, [first, node]))
            return

    def _collect(self, selection_set: SelectionSetNode, into: dict[str, list[FieldNode]], seen: set[str]) -> None:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                into.setdefault((node.alias or node.name).value, []).append(node)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self.context.get_fragment(node.name.value)
                if fragment is not None and node.name.value not in seen:
                    seen.add(node.name.value)
                    self._collect(fragment.selection_set, into, seen)
            else:
                self._collect(node.selection_set, into, seen)  # type: ignore[attr-defined]


def _arguments(node: FieldNode) -> dict[str, Any]:
    return {argument.name.value: _plain(argument.value) for argument in node.arguments or ()}


def _plain(value: Any) -> Any:
    """A literal as a value that can be compared."""
    if isinstance(value, ListValueNode):
        return [_plain(each) for each in value.values]
    if isinstance(value, ObjectValueNode):
        return {each.name.value: _plain(each.value) for each in value.fields}
    return value.kind, value.name.value if isinstance(value, VariableNode) else getattr(value, "value", None)


def rules(knows: EngineKnows) -> list[type[ValidationRule]]:
    """All rules, for an engine that has what *knows* says of introspection."""

    class KnownIntrospection(ValidationRule):
        """Introspection is asked for what the engine has; graphql-core's is newer."""

        def enter_field(self, node: FieldNode, *_: Any) -> None:
            parent = self.context.get_parent_type()
            if parent is None or not parent.name.startswith("__") or self.context.get_field_def() is None:
                return
            name = node.name.value
            if not knows(parent.name, name, None):
                self.report_error(GraphQLError(f"Cannot query field '{name}' on type '{parent.name}'.", node))
                return
            for argument in node.arguments or ():
                if not knows(parent.name, name, argument.name.value):
                    message = f"Unknown argument '{argument.name.value}' on field '{parent.name}.{name}'."
                    self.report_error(GraphQLError(message, argument))

    kept = [rule for rule in specified_rules if rule not in _LEFT_OUT]
    return [*kept, KnownIntrospection, FieldsCanBeMerged]
