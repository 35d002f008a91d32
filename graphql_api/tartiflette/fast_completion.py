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
from operator import attrgetter, call
from typing import Any

from graphql_api.fields import attribute_of, enum_value
from graphql_api.tartiflette.selection import NotPlain, collect
from models.work import CURRENT, OutOfTime, OverBudget

Complete = Callable[[Any], Any]

#: Types of which a page has one value for each id, however often that is mentioned (`killsync.killmails.entity_names`): what is
#: made of one is given wherever it stands. A page of 600 attackers mentions 3,000 of them and has 200.
_MENTIONED = frozenset({"Character", "Corporation", "Alliance", "Faction", "ItemType", "ItemGroup", "ItemCategory",
                        "SolarSystem", "Constellation", "Region"})  # fmt: skip


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
        if graphql_type.name in _MENTIONED:
            return _Plan(_remembered(inner, is_required=is_required), weight)
    elif hasattr(graphql_type, "coerce_output"):
        strict = _SCALARS.get(graphql_type.name)
        if strict is not None and is_required:
            return _Plan(strict)  # each of them refuses None itself
        inner = strict or graphql_type.coerce_output
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


def _remembered(inner: Complete, *, is_required: bool) -> Complete:
    """*inner* that makes one answer of each value. A value is kept with its answer, so that its id stays its own."""
    make = _required(inner)
    known: dict[int, tuple[Any, Any]] = {} if is_required else {id(None): (None, None)}

    def remembered(value: Any) -> Any:
        found = known.get(id(value))
        if found is None:
            found = known[id(value)] = value, make(value)
        return found[1]

    return remembered


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
    keys: list[str] = []
    attributes: list[str] = []
    completes: list[Complete] = []
    weight = 0
    for key, attribute, field_type, nodes in _selected(object_type, field_nodes, context):
        plan = _Plan(lambda _: object_type.name) if field_type is None else _plan(field_type, nodes, context)
        keys.append(key)
        attributes.append(attribute)
        completes.append(plan.complete)
        weight += plan.weight
    read = attrgetter(*attributes)
    if len(keys) == 1:
        (only_key,), (only_complete,) = keys, completes
        return lambda value: {only_key: only_complete(read(value))}, weight
    # No frame of Python's but those of the fields themselves.
    return lambda value: dict(zip(keys, map(call, completes, read(value)), strict=True)), weight
