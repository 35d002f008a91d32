"""Completing results that are already in memory, without a coroutine per field.

Resolvers here load a whole page of values, so that below them nothing is left to wait for. Tartiflette would still
run several coroutines for each field of each object. This module walks such values at once, by a plan made once per
selection. It only ever handles the case in which all goes well: anything else (null where not allowed, a value that
does not fit its scalar) is left to Tartiflette's own coercers, which run instead and produce the errors.

Values are counted before they are built (`models.work`), list by list. The elements of an operation's outer lists, such
as the killmails of a page, are built in slices between which others have the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from tartiflette.language.ast import FieldNode, InlineFragmentNode, VariableNode

from graphql_api.fields import attribute_of, enum_value
from models.work import CURRENT, OutOfTime, OverBudget

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
        return await complete(result, graphql_type, field_nodes, execution_context)
    except (OutOfTime, OverBudget):
        # The engine sees that the operation was stopped, and answers so. An error would hold all that was built, in a
        # circle of its frames, until the next collection: 60 MB.
        return None
    except Exception:  # Whatever it was, the usual coercers meet it again and turn it into the right error.
        return await usual(result, info, execution_context, field_nodes, path)


async def complete(result: Any, graphql_type: Any, field_nodes: list[Any], context: Any) -> Any:
    """The response for *result*; *context* has `schema`, `fragments` and `variable_values`.

    Raises:
        OutOfTime, OverBudget: the operation is to stop.
        Exception: of any other kind, when the result is not flawless.
    """
    await _breathe()
    if graphql_type.is_non_null_type:
        if result is None:
            raise NotPlain
        graphql_type = graphql_type.wrapped_type
    if result is None:
        return None
    if graphql_type.is_list_type:
        return await _list_in_slices(result, graphql_type, field_nodes, context)
    if not hasattr(graphql_type, "implemented_fields"):
        return _plan(graphql_type, field_nodes, context).complete(result)
    answer = {}
    for key, attribute, field_type, nodes in _selected(graphql_type, field_nodes, context):
        if field_type is None:
            answer[key] = graphql_type.name
        elif _is_list(field_type):
            answer[key] = await complete(getattr(result, attribute), field_type, nodes, context)
        else:
            answer[key] = _plan(field_type, nodes, context).complete(getattr(result, attribute))
    return answer


async def _list_in_slices(values: Any, list_type: Any, field_nodes: list[Any], context: Any) -> list[Any]:
    if type(values) is not list:
        raise NotPlain
    plan = _plan(list_type.wrapped_type, field_nodes, context)
    _count(len(values) * plan.weight)
    answer = []
    for each in values:
        answer.append(plan.complete(each))
        await _breathe()
    return answer


def _is_list(graphql_type: Any) -> bool:
    return bool((graphql_type.wrapped_type if graphql_type.is_non_null_type else graphql_type).is_list_type)


def _count(values: int) -> None:
    work = CURRENT.get()
    if work is not None:
        work.build(values)


async def _breathe() -> None:
    work = CURRENT.get()
    if work is not None:
        await work.breathe()


@dataclass(frozen=True)
class _Plan:
    """How to complete one value, and how many values of the answer it makes, those in lists below it apart."""

    complete: Complete
    weight: int = 1


def _plan(graphql_type: Any, field_nodes: list[Any], context: Any) -> _Plan:
    is_required = graphql_type.is_non_null_type
    if is_required:
        graphql_type = graphql_type.wrapped_type
    weight = 1
    inner: Complete
    if graphql_type.is_list_type:
        inner = _list(_plan(graphql_type.wrapped_type, field_nodes, context))
    elif hasattr(graphql_type, "implemented_fields"):
        inner, weight = _object(graphql_type, field_nodes, context)
    elif hasattr(graphql_type, "coerce_output"):
        inner = _SCALARS.get(graphql_type.name) or graphql_type.coerce_output
    elif hasattr(graphql_type, "get_value"):
        inner = partial(_enum, graphql_type)
    else:
        raise NotPlain
    return _Plan(_required(inner) if is_required else _nullable(inner), weight)


def _required(inner: Complete) -> Complete:
    def required(value: Any) -> Any:
        if value is None:
            raise NotPlain
        return inner(value)

    return required


def _nullable(inner: Complete) -> Complete:
    def nullable(value: Any) -> Any:
        return None if value is None else inner(value)

    return nullable


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


def _enum(enum_type: Any, value: Any) -> str:
    name = enum_value(value)
    if enum_type.get_value(name) is None:
        raise NotPlain
    return name


def _list(plan: _Plan) -> Complete:
    inner, weight = plan.complete, plan.weight
    work = CURRENT.get()

    def items(value: Any) -> Any:
        if type(value) is not list:
            raise NotPlain
        if work is not None:
            work.build(len(value) * weight)
        return [inner(each) for each in value]

    return items


def _selected(object_type: Any, field_nodes: list[Any], context: Any) -> list[tuple[str, str, Any, list[Any]]]:
    """(response key, attribute, type, nodes) of each selected field; no type for `__typename`."""
    selected: dict[str, list[Any]] = {}
    seen: set[str] = set()
    for node in field_nodes:
        if node.selection_set:
            collect(node.selection_set, object_type.name, context, selected, seen)
    found = []
    for key, nodes in selected.items():
        name = nodes[0].name.value
        if name == "__typename":
            # Any attribute will do: what stands there is the same for every object.
            found.append((key, "__class__", None, nodes))
            continue
        field = object_type.find_field(name)
        if field.raw_resolver is not None:
            raise NotPlain
        found.append((key, attribute_of(object_type.name, name), field.graphql_type, nodes))
    return found


def _object(object_type: Any, field_nodes: list[Any], context: Any) -> tuple[Complete, int]:
    plans: list[tuple[str, Complete]] = []
    attributes: list[str] = []
    weight = 0
    for key, attribute, field_type, nodes in _selected(object_type, field_nodes, context):
        plan = _Plan(lambda _: object_type.name) if field_type is None else _plan(field_type, nodes, context)
        plans.append((key, plan.complete))
        attributes.append(attribute)
        weight += plan.weight
    read = attrgetter(*attributes)
    if len(plans) == 1:
        ((only_key, only_plan),) = plans
        return lambda value: {only_key: only_plan(read(value))}, weight

    def whole(value: Any) -> Any:
        return {key: complete(found) for (key, complete), found in zip(plans, read(value), strict=True)}

    return whole, weight


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
