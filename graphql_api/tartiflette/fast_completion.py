"""Completing results that are already in memory, without a coroutine per field.

Resolvers here load a whole page of values, so that below them nothing is left to wait for. Tartiflette would still
run several coroutines for each field of each object. This module walks such values at once, by a plan made once per
selection. It only ever handles the case in which all goes well: anything else (null where not allowed, a value that
does not fit its scalar) is left to Tartiflette's own coercers, which run instead and produce the errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tartiflette.language.ast import FieldNode, InlineFragmentNode, VariableNode

from graphql_api.fields import attribute_of, enum_value

Complete = Callable[[Any], Any]


class NotPlain(Exception):
    """This result needs Tartiflette's own coercers."""


def install(schema: Any, root_types: tuple[str, ...]) -> None:
    """Let the fields of *root_types* that return objects or lists complete their results by plan."""
    for type_name in root_types:
        for field in schema.find_type(type_name).implemented_fields.values():
            if field.name.startswith("__") or not _is_object(field.graphql_type):
                continue
            keywords = dict(field.resolver.keywords)
            keywords["output_coercer"] = partial(
                _coerce, usual=keywords["output_coercer"], graphql_type=field.graphql_type
            )
            field.resolver = partial(field.resolver.func, **keywords)


def _is_object(graphql_type: Any) -> bool:
    while graphql_type.is_wrapping_type:
        graphql_type = graphql_type.wrapped_type
    return hasattr(graphql_type, "implemented_fields")


async def _coerce(
    result: Any, info: Any, execution_context: Any, field_nodes: list[Any], path: Any, *, usual: Any, graphql_type: Any
) -> Any:
    try:
        return complete(result, graphql_type, field_nodes, execution_context)
    except Exception:  # Whatever it was, the usual coercers meet it again and turn it into the right error.
        return await usual(result, info, execution_context, field_nodes, path)


def complete(result: Any, graphql_type: Any, field_nodes: list[Any], context: Any) -> Any:
    """The response for *result*; *context* has `schema`, `fragments` and `variable_values`.

    Raises:
        Exception: of any kind, when the result is not flawless.
    """
    return _plan(graphql_type, field_nodes, context)(result)


def _plan(graphql_type: Any, field_nodes: list[Any], context: Any) -> Complete:
    """How a value of a type is completed. What may not be null raises on None, each in its own way."""
    if graphql_type.is_non_null_type:
        return _not_null(graphql_type.wrapped_type, field_nodes, context)
    if hasattr(graphql_type, "implemented_fields"):
        fields = _fields(graphql_type, field_nodes, context)
        return lambda value: (
            None if value is None else {key: inner(getattr(value, attribute)) for key, attribute, inner in fields}
        )
    inner = _not_null(graphql_type, field_nodes, context)
    return lambda value: None if value is None else inner(value)


def _not_null(graphql_type: Any, field_nodes: list[Any], context: Any) -> Complete:
    if graphql_type.is_list_type:
        return _list(_plan(graphql_type.wrapped_type, field_nodes, context))
    if hasattr(graphql_type, "implemented_fields"):
        fields = _fields(graphql_type, field_nodes, context)
        return lambda value: {key: inner(getattr(value, attribute)) for key, attribute, inner in fields}
    if hasattr(graphql_type, "coerce_output"):
        return _SCALARS.get(graphql_type.name) or _scalar(graphql_type.coerce_output)
    if hasattr(graphql_type, "get_value"):
        return _enum(graphql_type)
    raise NotPlain


def _id(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return _string(value)


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise NotPlain


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise NotPlain


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    raise NotPlain


#: Scalars whose values need next to nothing: most fields of a page are of these.
_SCALARS: dict[str, Complete] = {"ID": _id, "String": _string, "Boolean": _boolean, "Int": _int}


def _scalar(coerce: Complete) -> Complete:
    def scalar(value: Any) -> Any:
        if value is None:
            raise NotPlain
        return coerce(value)

    return scalar


def _enum(enum_type: Any) -> Complete:
    def enum(value: Any) -> str:
        name = enum_value(value)
        if enum_type.get_value(name) is None:
            raise NotPlain
        return name

    return enum


def _list(inner: Complete) -> Complete:
    def items(value: Any) -> Any:
        if type(value) is not list:
            raise NotPlain
        return [inner(each) for each in value]

    return items


def _fields(object_type: Any, field_nodes: list[Any], context: Any) -> list[tuple[str, str, Complete]]:
    """(key of the answer, attribute, how it is completed) of each field that is selected on an object."""
    selected: dict[str, list[Any]] = {}
    seen: set[str] = set()
    for node in field_nodes:
        if node.selection_set:
            collect(node.selection_set, object_type.name, context, selected, seen)
    fields: list[tuple[str, str, Complete]] = []
    for key, nodes in selected.items():
        name = nodes[0].name.value
        if name == "__typename":
            fields.append((key, "__class__", lambda _: object_type.name))
            continue
        field = object_type.find_field(name)
        if field.raw_resolver is not None:
            raise NotPlain
        fields.append((key, attribute_of(object_type.name, name), _plan(field.graphql_type, nodes, context)))
    if all(attribute == "__class__" for _, attribute, _ in fields):
        # Every value has a class, None as well: whether it may be None has to be looked at.
        raise NotPlain
    return fields


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
